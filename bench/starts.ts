import { signInForm } from './accounts.ts';
import { type ServerDefinition, ServerProcess } from './server-process.ts';
import { type Spread, spreadOf } from './statistics.ts';

export interface StartTimes {
  /** From the start of the process until it says that it listens, in milliseconds. */
  readonly ready: Spread;
  /** … until it has answered the first request for a token. */
  readonly firstToken: Spread;
}

/** Starts a server several times on a database that exists. @param folder where its logs go */
export async function measureStarts(definition: ServerDefinition, times: number, folder: string): Promise<StartTimes> {
  const ready: number[] = [];
  const firstToken: number[] = [];
  for (let time = 0; time < times; time += 1) {
    await using server = await ServerProcess.start(definition, folder);
    const answer = await fetch(`${server.origin}/generateToken`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: signInForm(1),
    });
    await answer.text();
    firstToken.push(server.ageMs);
    if (answer.status !== 200) throw new Error(`The first sign-in was answered with ${String(answer.status)}`);
    ready.push(server.startMs);
  }
  return { ready: spreadOf(ready), firstToken: spreadOf(firstToken) };
}
