// Builds the two native parts of node-netlink against the headers of the pinned Node. The package is installed without
// its install scripts, which would build against whatever Node the machine has.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const modules = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'node_modules');
const headers = join(modules, `node-linux-${process.arch}`);

for (const name of ['syscall-napi', 'buffer2address']) {
  const folder = join(modules, name);
  if (!existsSync(join(folder, 'binding.gyp'))) {
    process.stderr.write(`${folder} is missing: run make build\n`);
    process.exit(1);
  }
  const options = ['--silent', 'rebuild', '-C', folder, `--nodedir=${headers}`];
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(modules, '.bin', 'node-gyp'), ...options], {
    encoding: 'utf8',
  });
  if (status !== 0) {
    process.stderr.write(`${stdout}${stderr}${name} did not build\n`);
    process.exit(status ?? 1);
  }
}
