// What a test project has of its own: an application that mails a link and a code, here by SMTP on a plain socket.
// FAULTY=1: it mails another address, to show what a failure says.
import net from 'node:net';
import readline from 'node:readline';

export async function requestPasswordReset(smtp, user) {
  const to = process.env.FAULTY ? `x${user}` : user;
  const [host, port] = smtp.split(':');
  const socket = net.connect(Number(port), host);
  const replies = readline.createInterface({ input: socket })[Symbol.asyncIterator]();
  const mail = [`To: ${to}`, 'Subject: Reset your password', '', 'Code 482913, or https://shop.example/reset?t=1.', '.'];
  const lines = [null, 'HELO shop.example', 'MAIL FROM:<no-reply@shop.example>', `RCPT TO:<${to}>`, 'DATA',
    mail.join('\r\n'), 'QUIT'];
  try {
    for (const line of lines) {
      if (line !== null) socket.write(`${line}\r\n`);
      const { value } = await replies.next();
      if (!/^[23]/.test(value)) throw new Error(`${line ?? 'greeting'}: ${value ?? 'the server closed the connection'}`);
    }
  } finally {
    socket.destroy(); // one that is left open keeps node from ending
  }
}
