import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { TestApp } from '../support/app.ts';
import { chromiumPath, launch } from '../support/browser.ts';

const executable = chromiumPath();
const withBrowser = executable === undefined ? describe.skip : describe;

/** A proxy that serves another server below a path, and has nothing else. */
async function proxyBelow(path: string, target: string): Promise<http.Server> {
  const proxy = http.createServer((request, response) => {
    if (request.url?.startsWith(path) !== true) {
      response.writeHead(404).end();
      return;
    }
    const forwarded = http.request(target + request.url.slice(path.length), { headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    request.pipe(forwarded);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return proxy;
}

withBrowser('the console', () => {
  let app: TestApp;
  let proxy: http.Server;
  let browser: Browser;
  beforeAll(async () => {
    app = await TestApp.start();
    proxy = await proxyBelow('/below', app.url);
    browser = await launch(executable ?? '');
  });
  afterAll(async () => {
    await browser.close();
    proxy.close();
    await app.close();
  });

  it('names the wrong address below another path, but not at its own', async () => {
    const page = await browser.newPage();
    const { port } = proxy.address() as AddressInfo;
    const words = page.getByText('this address is not the console');
    await page.goto(`http://127.0.0.1:${String(port)}/below/console`);
    await words.waitFor({ state: 'visible' });
    await page.goto(`${app.url}/console`);
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    expect(await words.count()).toBe(0);
  });
});
