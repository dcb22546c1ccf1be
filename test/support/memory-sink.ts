import { PassThrough } from 'node:stream';
import { LogSink } from '../../dataplane/io/log-sink.ts';

/** A sink for log lines, kept as objects; `lines` are those since the last call. */
export function memorySink(): { readonly sink: LogSink; readonly lines: () => Promise<Record<string, unknown>[]> } {
  const stream = new PassThrough();
  const sink = new LogSink(stream);
  return {
    sink,
    lines: async () => {
      await sink.flush(10_000);
      const text = String((stream.read() as Buffer | null) ?? '');
      return text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    },
  };
}
