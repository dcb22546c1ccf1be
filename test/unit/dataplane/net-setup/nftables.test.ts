import assert from 'node:assert/strict';
import { mkdtempDisposableSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { runNftScript } from '../../../../dataplane/net-setup/nftables.ts';

/** Has `script` for `nft` until the test ends; `$said` is a file of its own. */
function pretendNft(t: TestContext, script: string): { readonly said: () => string } {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-nft-'));
  const said = join(folder.path, 'said');
  writeFileSync(join(folder.path, 'nft'), `#!/bin/sh\nsaid=${said}\n${script}\n`, { mode: 0o755 });
  const before = process.env['PATH'];
  process.env['PATH'] = folder.path;
  t.after(() => {
    process.env['PATH'] = before;
    folder.remove();
  });
  return { said: () => readFileSync(said, 'utf8').trim() };
}

test('nft runs in a session of its own, which no Ctrl-C of the terminal reaches', async (t) => {
  // The sixth field of stat is the session.
  const nft = pretendNft(t, 'read -r _ _ _ _ _ session _ </proc/$$/stat\necho "$$ $session" >$said');
  await runNftScript('');
  const [pid, session] = nft.said().split(' ');
  assert.equal(session, pid);
});

test('an nft that a signal ended is started again', async (t) => {
  const nft = pretendNft(t, '[ -e $said ] || { echo once >$said; kill -INT $$; }\necho again >>$said');
  await runNftScript('');
  assert.equal(nft.said(), 'once\nagain');
});

test('an nft that signals always end is given up', async (t) => {
  const nft = pretendNft(t, 'echo once more >>$said\nkill -INT $$');
  await assert.rejects(runNftScript(''), /by signal/);
  assert.equal(nft.said(), 'once more\nonce more\nonce more');
});
