import { createInterface } from 'node:readline/promises';
import { text } from 'node:stream/consumers';
import { Writable } from 'node:stream';
import type { Command } from 'commander';
import { hashPassword } from '../dataplane/auth/password-hash.ts';
import { TerminalError } from '../net/errors.ts';

export function addHashPasswordCommand(program: Command): void {
  program
    .command('hash-password')
    .summary('hash a password for a users document')
    .description(
      'Reads a password from standard input and prints its argon2id hash for `passwordHash` in a users document.\n' +
        'One line break at the end is not part of the password.',
    )
    .addHelpText('after', '\nExample:\n  printf \'%s\' "$PASSWORD" | clientvpn hash-password')
    .action(async () => {
      const password = process.stdin.isTTY ? await askHidden() : withoutLineBreak(await text(process.stdin));
      if (password === '') throw new TerminalError('The password is empty');
      // What is no UTF-8 reads as that, whichever bytes they were: other passwords would be taken for this one.
      if (password.includes('\uFFFD')) throw new TerminalError('The password is not UTF-8 text');
      process.stdout.write(`${await hashPassword(password)}\n`);
    });
}

function withoutLineBreak(input: string): string {
  return input.replace(/\r?\n$/, '');
}

/** From a terminal: one line, not shown. */
async function askHidden(): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true });
  process.stderr.write('Password: ');
  try {
    return await lines.question('');
  } catch (cause) {
    // Ctrl-C and Ctrl-D.
    throw new TerminalError('No password was entered', { cause });
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
