/** The peer broke the rules of a protocol; ends one session. `code` is constant, for counters and logs. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Trying again later may help. */
export class TransientError extends Error {
  override readonly name = 'TransientError';
}

/** Trying again as it is can't help: a person must change something. The message says what. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}

/** An invariant of ours broke: the unit that owns it must stop. */
export class InternalError extends Error {
  override readonly name = 'InternalError';
}
