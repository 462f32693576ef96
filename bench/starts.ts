import { signInForm } from './accounts.ts';
import { type ServerDefinition, ServerProcess } from './server-process.ts';
import { type Spread, spreadOf } from './statistics.ts';

export interface StartTimes {
  /** Milliseconds from the start of the process until it says that it listens. */
  readonly ready: Spread;
  /** Milliseconds until it has answered the first token request. */
  readonly firstToken: Spread;
}

/** Starts a server several times on an existing database. @param folder the folder for its logs */
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
