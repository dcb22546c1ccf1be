import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { derChildren, derObjectIdentifier, derSerial, derText, derTime, readDer } from '../../../net/der.ts';

const of = (hex: string) => readDer(Buffer.from(hex, 'hex'));

function read(hex: string) {
  const item = of(hex);
  assert.ok(item !== undefined, hex);
  return item;
}

suite('DER', () => {
  test('lengths are read in their shortest form only', () => {
    assert.equal(read('0400').end, 2);
    assert.equal(read(`04817f`.replace('817f', '8180') + '00'.repeat(128)).contentStart, 3);
    assert.equal(read(`04820100${'00'.repeat(256)}`).contentStart, 4);
    for (const hex of [
      '',
      '04',
      '0401',
      '048100',
      '04817f',
      `048200ff${'00'.repeat(255)}`,
      '0480',
      '04850000000001',
      '1f0100',
    ]) {
      assert.equal(of(hex), undefined, hex);
    }
  });

  test('children fill their parent exactly, and are not too many', () => {
    assert.equal(derChildren(read('3006020101020102'))?.length, 2);
    assert.equal(derChildren(read('3000'))?.length, 0);
    assert.equal(derChildren(read('3003020201')), undefined);
    assert.equal(derChildren(read('3006020101020102'), 1), undefined);
  });

  test('times in both forms, and nothing that is no time', () => {
    const time = (tag: string, text: string) =>
      derTime(read(tag + text.length.toString(16).padStart(2, '0') + Buffer.from(text).toString('hex')));
    assert.equal(time('17', '261123001013Z'), Date.UTC(2026, 10, 23, 0, 10, 13));
    assert.equal(time('17', '500101000000Z'), Date.UTC(1950, 0, 1));
    assert.equal(time('18', '20401231235959Z'), Date.UTC(2040, 11, 31, 23, 59, 59));
    for (const text of ['261323001013Z', '2611230010Z', '261123001013+0100', '26112300101Z', '']) {
      assert.equal(time('17', text), undefined);
    }
    assert.equal(time('18', '20401231235959.5Z'), undefined);
    assert.equal(time('04', '261123001013Z'), undefined);
  });

  test('object identifiers, serials and texts', () => {
    assert.equal(derObjectIdentifier(read('0603550403')), '2.5.4.3');
    assert.equal(derObjectIdentifier(read('06082b06010505070302')), '1.3.6.1.5.5.7.3.2');
    assert.equal(derObjectIdentifier(read('0602883703'.slice(0, 8))), '2.999');
    assert.equal(derObjectIdentifier(read('060188')), undefined);
    assert.equal(derSerial(read('020400ab0100')), 'AB0100');
    assert.equal(derSerial(read('020100')), '0');
    assert.equal(derSerial(read('0201ff')), undefined);
    assert.equal(derText(read('0c03e282ac')), '€');
    assert.equal(derText(read('0c02e282')), undefined);
    assert.equal(derText(read('13036a6f65')), 'joe');
    assert.equal(derText(read('1301ff')), undefined);
    assert.equal(derText(read('1e0420ac0041')), '€A');
    assert.equal(derText(read('1e0141')), undefined);
    assert.equal(derText(read('1c040001f600')), '😀');
    assert.equal(derText(read('1c0400110000')), undefined);
  });
});
