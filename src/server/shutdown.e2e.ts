import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { TestApp } from '../../test/support/app.ts';
import { holdRefusals, slowHashesOf } from '../../test/support/inside.ts';
import { until } from '../../test/support/sign-ins.ts';

/** Sends a request on a pooled keep-alive connection. */
async function send(agent: Agent, url: string, options: { token?: string; form?: string }): Promise<IncomingMessage> {
  const sent = request(url, {
    agent,
    method: options.form === undefined ? 'GET' : 'POST',
    headers: {
      ...(options.token !== undefined && { authorization: `Bearer ${options.token}` }),
      ...(options.form !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }),
    },
  });
  sent.end(options.form);
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  answer.resume();
  await once(answer, 'end');
  return answer;
}

describe('a server that stops', () => {
  it('answers received requests, sends their clients elsewhere and does not wait for them', async () => {
    const app = await TestApp.start();
    let closed: Promise<void> | undefined;
    const agent = new Agent({ keepAlive: true });
    // A server that waited for idle connections would not stop before the end of the test.
    app.app.nest.getHttpServer().keepAliveTimeout = 600_000;
    try {
      const { token, ...partner } = await app.asPartner();
      // Opens five connections, which stay open.
      const answers = await Promise.all(Array.from({ length: 5 }, () => send(agent, `${app.url}/me`, { token })));
      expect(answers.map(({ headers }) => headers.connection)).toEqual(Array(5).fill('keep-alive'));
      const form = new URLSearchParams({ Username: partner.username, Password: 'wrong' }).toString();
      const release = holdRefusals(app);
      const refusals = Array.from({ length: 3 }, () => send(agent, `${app.url}/generateToken`, { form }));
      await until(() => slowHashesOf(app).waiting === 3, 'three refusals that wait');
      closed = app.close();
      // These arrive while the server waits for the refusals, and are the last requests on their connections.
      const late = Array.from({ length: 2 }, () => send(agent, `${app.url}/me`, { token }));
      const seen = (await Promise.all(late)).map(({ statusCode, headers }) => [statusCode, headers.connection]);
      expect(seen).toEqual(Array(2).fill([200, 'close']));
      release();
      expect((await Promise.all(refusals)).map(({ statusCode }) => statusCode)).toEqual([401, 401, 401]);
      await closed;
    } finally {
      agent.destroy();
      await (closed ?? app.close());
    }
  });
});
