// A password reset, end to end: POPBOX_URL=http://... POPBOX_TOKEN=... node --test
import assert from 'node:assert';
import { after, before, test } from 'node:test';
import { requestPasswordReset } from './application.mjs';
import { makeSpace } from './popbox.mjs';

let space;
before(async () => { space = await makeSpace(); });
after(() => space?.end());

test('the mail has a link and a code', async () => {
  const joe = `joe@${space.domain}`;
  const since = await space.cursor();
  await requestPasswordReset(space.smtp, joe);
  const mail = await space.wait({ to: joe, subject: 'Reset your password', since });
  assert.equal(mail.codes[0], '482913');
  assert.equal(mail.links[0].href, 'https://shop.example/reset?t=1');
});
