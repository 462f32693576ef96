import { createServer } from 'node:http';
import { listen, readForm } from './plain-http.ts';

/** As long as Latchkey's tokens are. */
const ANSWER = 'x'.repeat(640);

const server = createServer((request, response) => {
  void readForm(request).then((form) => {
    const complete = form.get('Username') !== null && form.get('Password') !== null;
    response.writeHead(complete ? 200 : 400, {
      'content-type': 'text/plain; charset=utf-8',
      'content-length': ANSWER.length,
    });
    response.end(ANSWER);
  });
});

listen(server);
