import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InternalError } from '../net/errors.ts';

/** The version in package.json, which is one folder up from here in a checkout and two from `dist/`. */
export function packageVersion(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json'))) {
    if (dirname(folder) === folder) throw new InternalError('There is no package.json above the program');
    folder = dirname(folder);
  }
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
  return version;
}
