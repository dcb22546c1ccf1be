import { pino, type Logger } from 'pino';
import type { LogLevel } from '../process-messages.ts';
import type { LogSink } from './log-sink.ts';

export type { Logger } from 'pino';

/**
 * A logger of JSON lines: `level` as a word, `time` as RFC 3339, bindings, `msg`. Fields whose name
 * says that they are secret print as `[redacted]`, at the top and one level below it.
 */
export function createLogger(options: {
  readonly level: LogLevel;
  readonly sink: LogSink;
  readonly bindings?: Readonly<Record<string, string>>;
}): Logger {
  return pino(
    {
      level: options.level,
      base: options.bindings ?? {},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: '[redacted]' },
    },
    options.sink,
  );
}

const SECRET_FIELDS = [
  'authorization',
  'authToken',
  'authTokenKey',
  'clientKeyPem',
  'controlWrapKey',
  'keyPem',
  'localUsers',
  'otp',
  'password',
  'passwordHash',
  'response',
  'SAMLResponse',
  'secrets',
  'serverKeyPem',
  'token',
  'totpSecret',
];
