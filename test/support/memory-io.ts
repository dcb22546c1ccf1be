import type { CommandIo } from '../../cli/command-io.ts';

/** A command's streams, kept as text. */
export function memoryIo(): CommandIo & { readonly outText: () => string; readonly errText: () => string } {
  let out = '';
  let err = '';
  return {
    out: { write: (text) => void (out += text) },
    err: { write: (text) => void (err += text) },
    outText: () => out,
    errText: () => err,
  };
}
