import type { TestEvent } from 'node:test/reporters';

/** One finished test of one file, as a line of JSON. */
export interface TestOutcome {
  readonly name: string;
  readonly result: 'passed' | 'failed' | 'skipped';
  /** Why it was skipped, or what the failure says, with its stack. */
  readonly detail: string;
  readonly seconds: number;
}

/** A `node:test` reporter that writes TestOutcome lines. Suites are no outcomes, unless one is skipped as a whole. */
export default async function* reportOutcomes(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { name, details, skip } = event.data;
    if (details.type === 'suite' && skip === undefined) continue;
    const outcome: TestOutcome = {
      name,
      result: event.type === 'test:fail' ? 'failed' : skip === undefined ? 'passed' : 'skipped',
      detail:
        event.type === 'test:fail' ? describeFailure(event.data.details.error) : typeof skip === 'string' ? skip : '',
      seconds: details.duration_ms / 1000,
    };
    yield `${JSON.stringify(outcome)}\n`;
  }
}

function describeFailure(error: Error): string {
  const cause = error.cause instanceof Error ? error.cause : error;
  return cause.stack ?? cause.message;
}
