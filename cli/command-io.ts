/** Where a command writes: what it was asked for to `out`, why it can't to `err`. */
export interface CommandIo {
  readonly out: TextSink;
  readonly err: TextSink;
}

export interface TextSink {
  write(text: string): unknown;
}
