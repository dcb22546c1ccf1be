import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { canonicalJson } from '../../../api/canonical-json.ts';
import { associationId, automaticRouteName, endpointId } from '../../../api/names.ts';

describe('canonicalJson', () => {
  it('sorts keys and leaves blanks out', () => {
    assert.equal(canonicalJson({ b: [1, { d: null, c: 'x' }], a: true }), '{"a":true,"b":[1,{"c":"x","d":null}]}');
  });

  it('leaves undefined members out', () => assert.equal(canonicalJson({ a: undefined, b: 1 }), '{"b":1}'));

  it('is JSON of the same value, whatever the order of keys', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
        assert.equal(canonicalJson(JSON.parse(text)), text);
      }),
    );
  });
});

describe('names', () => {
  const metadata = { namespace: 'default', name: 'corp' };

  it('ids have 17 hex digits, of the UID where there is one', () => {
    const uid = '0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0';
    assert.equal(endpointId({ ...metadata, uid }), 'cvpn-endpoint-0f1e2d3c4b5a69788');
    assert.match(endpointId(metadata), /^cvpn-endpoint-[0-9a-f]{17}$/);
    assert.match(associationId(metadata), /^cvpn-assoc-[0-9a-f]{17}$/);
  });

  it('without a UID they are those of namespace and name', () => {
    assert.equal(endpointId(metadata), endpointId({ ...metadata }));
    assert.notEqual(endpointId(metadata), endpointId({ namespace: 'default-c', name: 'orp' }));
  });

  it('automatic routes are named by target network and destination', () => {
    assert.equal(automaticRouteName('net-a', '10.50.0.0/16'), 'net-a-10-50-0-0-16');
  });
});
