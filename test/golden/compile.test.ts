/**
 * Each folder of `compile/` holds manifests (`input.yaml`) and what they compile to (`expected.yaml`): findings,
 * snapshots, and the status of every object. `UPDATE_GOLDEN=1` writes the expectation anew; read the difference.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import { DEFAULT_QUOTAS } from '../../operator/endpoint/checks/quotas.ts';
import { checkManifests, loadValidator } from '../../standalone/check-manifests.ts';
import { formatFinding } from '../../standalone/findings.ts';

const CASES = join(import.meta.dirname, 'compile');
const NOW = Date.parse('2026-01-02T03:04:05Z');

describe('golden: manifests → snapshot and statuses', async () => {
  const validator = await loadValidator();
  const names = readdirSync(CASES).toSorted();
  for (const name of names) {
    it(name, () => {
      const text = readFileSync(join(CASES, name, 'input.yaml'), 'utf8');
      const checked = checkManifests([{ path: 'input.yaml', text }], validator, { quotas: DEFAULT_QUOTAS, now: NOW });
      const actual = {
        findings: checked.findings.map(formatFinding),
        snapshots: Object.fromEntries([...checked.compiled.endpoints].map(([key, { snapshot }]) => [key, snapshot])),
        statuses: Object.fromEntries(
          [...checked.compiled.statuses]
            .toSorted(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, { status }]) => [key, status]),
        ),
      };
      const file = join(CASES, name, 'expected.yaml');
      if (process.env['UPDATE_GOLDEN'] === '1')
        writeFileSync(file, stringify(actual, { lineWidth: 0, aliasDuplicateObjects: false }));
      assert.ok(existsSync(file), `no ${file}: run with UPDATE_GOLDEN=1 and read it`);
      assert.deepEqual(JSON.parse(JSON.stringify(actual)), parse(readFileSync(file, 'utf8')));
    });
  }

  it('has the cases it is meant to have', () => assert.ok(names.length >= 6));
});
