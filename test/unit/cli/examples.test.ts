import assert from 'node:assert/strict';
import { mkdtempDisposableSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { runExplain } from '../../../cli/explain.ts';
import { runValidate } from '../../../cli/validate.ts';
import { DEFAULT_QUOTAS } from '../../../operator/endpoint/checks/quotas.ts';
import { loadValidator } from '../../../standalone/check-manifests.ts';
import { formatFinding } from '../../../standalone/findings.ts';
import { readGatewaySet } from '../../../standalone/gateway-set.ts';
import { endpointIn, EXAMPLES, exampleNames, manifestsOf, rowsOf, type ExampleRow } from '../../support/examples.ts';
import { memoryIo } from '../../support/memory-io.ts';
import { productionSecrets } from '../../support/production-secrets.ts';

async function assertRows(manifests: readonly string[], endpoint: string, rows: readonly ExampleRow[]): Promise<void> {
  assert.ok(rows.length > 0, 'the README has a table');
  for (const group of new Set(rows.map((row) => row.groups.join()))) {
    const ofGroup = rows.filter((row) => row.groups.join() === group);
    const groups = ofGroup[0]?.groups ?? [];
    const io = memoryIo();
    const to = ofGroup.map((row) => row.to);
    const code = await runExplain({ manifests, endpoint, to, groups, quotas: {}, output: 'json' }, io);
    const lines = io.outText().trimEnd().split('\n');
    assert.equal(code, ofGroup.every((row) => row.answer === 'allowed') ? 0 : 1, io.errText());
    assert.equal(lines.length, ofGroup.length, io.errText());
    for (const [index, row] of ofGroup.entries()) assertRow(row, lines[index] ?? '');
  }
}

function assertRow(row: ExampleRow, line: string): void {
  const answer = JSON.parse(line);
  const label = `${row.groups.join()} to ${row.to}: ${line}`;
  assert.equal(answer.to, row.to);
  assert.equal(answer.reason, row.answer === 'allowed' ? 'Allowed' : row.answer, label);
  assert.equal(answer.allowed, row.answer === 'allowed', label);
  const route = /route ([^,]+)/.exec(row.decidedBy)?.[1];
  const rule = /rule ([^,]+)/.exec(row.decidedBy)?.[1];
  if (route !== undefined) assert.equal(answer.route, route, label);
  if (rule !== undefined) assert.equal(answer.rule, rule, label);
}

describe('examples', () => {
  for (const name of exampleNames()) {
    const folder = join(EXAMPLES, name);
    it(`${name} is valid and reaches what its README says [C41] [C42] [C43] [C47]`, async () => {
      const io = memoryIo();
      assert.equal(await runValidate({ manifests: [folder], quotas: {} }, io), 0, io.outText());
      await assertRows(
        [folder],
        endpointIn(manifestsOf(folder)),
        rowsOf(readFileSync(join(folder, 'README.md'), 'utf8')),
      );
    });
  }

  it('production serves with real Secrets from elsewhere, needs nothing made for it, and nobody has anything to say', async () => {
    const example = join(EXAMPLES, 'production');
    using folder = mkdtempDisposableSync(join(tmpdir(), 'cvpn-production-'));
    writeFileSync(join(folder.path, 'secrets.yaml'), (await productionSecrets()).yaml);
    const io = memoryIo();
    assert.equal(await runValidate({ manifests: [example, folder.path], quotas: {} }, io), 0);
    assert.equal(io.outText(), '');
    const options = {
      targetNetwork: undefined,
      quotas: DEFAULT_QUOTAS,
      autoPki: null,
      madeSecrets: new Map(),
      authTokenKey: Buffer.alloc(32).toString('base64'),
      validator: await loadValidator(),
      epoch: 1,
    };
    const served = await readGatewaySet({ ...options, paths: [example, folder.path] }, null, Date.now());
    assert.deepEqual(served.findings.map(formatFinding), []);
    assert.equal(served.set?.config.secrets.revocation.kind, 'List');
    assert.equal(served.set.config.secrets.localUsers?.users.length, 2);
    const alone = await readGatewaySet({ ...options, paths: [example] }, null, Date.now());
    const missing = alone.findings.map(
      ({ message }) => /(?:Secret (production-[a-z-]+)) does not exist/.exec(message)?.[1],
    );
    const named = readFileSync(join(example, 'README.md'), 'utf8').matchAll(/^\| `(production-[a-z-]+)`/gm);
    assert.deepEqual(new Set(missing), new Set([...named].map(([, name]) => name)));
  });

  it('no example holds a private key', () => {
    const files = readdirSync(EXAMPLES, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    for (const { parentPath, name } of files)
      assert.doesNotMatch(readFileSync(join(parentPath, name), 'utf8'), /-----BEGIN/, name);
  });

  const groups = join(EXAMPLES, 'restrict-by-group');
  const sections = readFileSync(join(groups, 'README.md'), 'utf8').split('\n## ').slice(1);
  const tags = ['[C61]', '[C62]', '[C63]', '[C64]', '[C65]', '[C66]', '[C67]', '[C68]'];
  for (const [index, section] of sections.entries()) {
    const file = section.slice(0, section.indexOf(':'));
    it(`restrict-by-group/${file} is valid and decides as the guide says ${tags[index] ?? ''}`, async () => {
      const manifests = [join(groups, 'base'), join(groups, file)];
      const io = memoryIo();
      assert.equal(await runValidate({ manifests, quotas: {} }, io), 0, io.outText());
      await assertRows(manifests, 'groups', rowsOf(section));
    });
  }

  it('restrict-by-group has a section for each file', () => {
    const files = readdirSync(groups).filter((name) => name.endsWith('.yaml'));
    assert.deepEqual(files.toSorted(), sections.map((section) => section.slice(0, section.indexOf(':'))).toSorted());
    assert.equal(files.length, 8);
  });

  it('the five-rule example opens all to all without rules 1 and 5 [C68]', async () => {
    const base = join(groups, 'base');
    const text = readFileSync(join(groups, 'five-rules.yaml'), 'utf8');
    const kept = text.split('---\n').filter((document) => !/name: rule-[15]\n/.test(document));
    assert.equal(kept.length, 3);
    const folder = mkdtempSync(join(tmpdir(), 'cvpn-five-'));
    writeFileSync(join(folder, 'rules.yaml'), kept.join('---\n'));
    for (const group of ['Group1', 'Group2', 'Group3']) {
      const io = memoryIo();
      const to = ['10.1.0.5', '172.131.0.5', '203.0.113.9'];
      const options = {
        manifests: [base, folder],
        endpoint: 'groups',
        to,
        groups: [group],
        quotas: {},
        output: 'json',
      } as const;
      assert.equal(await runExplain(options, io), 0, io.outText());
    }
    rmSync(folder, { recursive: true });
  });
});
