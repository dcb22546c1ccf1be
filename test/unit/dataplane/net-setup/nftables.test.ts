import assert from 'node:assert/strict';
import { chmodSync, mkdtempDisposableSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runNftScript } from '../../../../dataplane/net-setup/nftables.ts';

test('nft runs in a session of its own, which no Ctrl-C of the terminal reaches', async (t) => {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-nft-'));
  const said = join(folder.path, 'said');
  const program = join(folder.path, 'nft');
  // The sixth field of stat is the session.
  writeFileSync(program, `#!/bin/sh\nread -r _ _ _ _ _ session _ </proc/$$/stat\necho "$$ $session" >${said}\n`);
  chmodSync(program, 0o755);
  const before = process.env['PATH'];
  t.after(() => (process.env['PATH'] = before));
  process.env['PATH'] = folder.path;
  await runNftScript('');
  const [pid, session] = readFileSync(said, 'utf8').trim().split(' ');
  assert.equal(session, pid);
});
