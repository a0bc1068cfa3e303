// popbox over HTTP with fetch alone: a space for a test, and waiting for its mail. Node 18 or newer.
import { setTimeout } from 'node:timers/promises';

const url = process.env.POPBOX_URL ?? 'http://127.0.0.1:8025';
const writes = { 'popbox-token': process.env.POPBOX_TOKEN ?? '' };

async function ask(path, options = {}) {
  const answer = await fetch(url + path, options);
  const body = await answer.json();
  if (answer.status === 202) return ask(body.again, options); // not yet, and no proxy has cut the wait
  if (answer.ok) return body;
  const evidence = (body.evidence ?? []).map((line) => `\n  ${line}`).join('');
  throw new Error(`${answer.status} ${body.error}: ${body.reason ?? body.hint}${evidence}`);
}

async function ready() {
  for (const until = Date.now() + 30_000; ; await setTimeout(250)) {
    try {
      return await ask('/readyz');
    } catch (error) {
      if (Date.now() > until) throw error;
    }
  }
}

// A domain of its own, in which every address receives; what comes to others is not seen in it.
// smtp is where the application sends its mail; POPBOX_SMTP says it where popbox is in a container.
export async function makeSpace() {
  const { smtp } = await ready();
  const headers = { ...writes, 'content-type': 'application/json' };
  const made = await ask('/v1/spaces', { method: 'POST', headers, body: '{}' });
  const inside = { headers: { 'popbox-space': made.token } };
  return {
    domain: made.domain,
    smtp: process.env.POPBOX_SMTP ?? smtp,
    // Taken before the action: a wait since then sees only what comes later.
    cursor: async () => (await ask('/v1/journeys?limit=1', inside)).cursor,
    // wanted: to, from, subject, since, within ("30s"). The message parsed, or an error that says where it is stuck.
    wait: async (wanted) => {
      const within = process.env.POPBOX_WITHIN ?? '30s';
      const query = new URLSearchParams({ within, ...wanted });
      return (await ask(`/v1/messages/wait?${query}`, inside)).messages[0];
    },
    end: () => ask(`/v1/spaces/${made.space}`, { method: 'DELETE', headers: writes }),
  };
}
