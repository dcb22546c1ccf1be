import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { GENERATED_DIR, generateTypes } from '../../../api/generate-types.ts';

describe('generated types', async () => {
  const files = await generateTypes();

  it('there is one file for each kind, and no other', () => {
    assert.deepEqual(readdirSync(GENERATED_DIR).toSorted(), [...files.keys()].toSorted());
    assert.equal(files.size, 6);
  });

  for (const [name, text] of files) {
    it(`${name} is what \`make generate\` writes`, () => {
      assert.equal(readFileSync(join(GENERATED_DIR, name), 'utf8'), text);
    });
  }

  it('everything in them is readonly', () => {
    for (const text of files.values()) {
      const members = text.split('\n').filter((line) => /^\s+('[^']+'|\w+|\[k: string\])\??: /.test(line));
      assert.deepEqual(members, []);
      assert.doesNotMatch(text.replaceAll(/readonly (\w+|\{[^]*?\n\s*\})\[\]/g, ''), /: \w+\[\]/);
    }
  });
});
