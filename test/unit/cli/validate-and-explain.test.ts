import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { runExplain, type ExplainOptions } from '../../../cli/explain.ts';
import { runValidate } from '../../../cli/validate.ts';
import { resource, type Json } from '../../support/base-resources.ts';
import { memoryIo } from '../../support/memory-io.ts';

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** A folder with one file for each text or list of objects. */
function folderOf(files: Readonly<Record<string, string | readonly Json[]>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'cvpn-cli-'));
  folders.push(folder);
  for (const [name, content] of Object.entries(files)) {
    const text = typeof content === 'string' ? content : content.map((object) => stringify(object)).join('---\n');
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

async function validate(
  manifests: readonly string[],
  quotas: Readonly<Record<string, number>> = {},
): Promise<{ readonly code: number; readonly lines: readonly string[] }> {
  const io = memoryIo();
  const code = await runValidate({ manifests, quotas }, io);
  const lines = io
    .outText()
    .split('\n')
    .filter((line) => line !== '');
  return { code, lines: lines.filter((line) => !line.includes('warning:')) };
}

const STAFF = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'staff' },
  stringData: { 'users.yaml': 'users: []' },
};
const endpoint = resource('ClientVpnEndpoint', 'corp');
const network = resource('TargetNetwork', 'net-a');
const rules = Array.from({ length: 51 }, (_, index) =>
  resource('AuthorizationRule', `r${index + 10}`, { spec: { destinationCIDR: `10.50.${index}.0/24` } }),
);

describe('validate', () => {
  it('takes a good set, in files and folders', async () => {
    const folder = folderOf({
      'a.yaml': [endpoint],
      'b.yml': [network],
      'c.json': '',
      'notes.txt': 'x: [',
      '.#a.yaml': '[',
    });
    assert.deepEqual(await validate([folder]), { code: 0, lines: [] });
    assert.deepEqual(await validate([join(folder, 'a.yaml'), join(folder, 'b.yml')]), { code: 0, lines: [] });
    assert.deepEqual(await validate([folder, join(folder, 'a.yaml')]), { code: 0, lines: [] });
  });

  it('prints FILE:LINE: KIND/NAME: FIELD: MESSAGE and exits 2', async () => {
    const folder = folderOf({
      'a.yaml': [resource('ClientVpnEndpoint', 'corp', { spec: { port: 8443, colour: 'red' } })],
    });
    const { code, lines } = await validate([folder]);
    assert.equal(code, 2);
    assert.deepEqual(lines, [
      `${folder}/a.yaml:15: ClientVpnEndpoint/corp: spec.port: 8443 is not one of 443, 1194`,
      `${folder}/a.yaml:16: ClientVpnEndpoint/corp: spec.colour: unknown field`,
    ]);
  });

  it('prints one array of findings with exactly the agreed keys for programs, and exits as ever', async () => {
    const json = async (manifests: readonly string[]): Promise<readonly [number, string]> => {
      const io = memoryIo();
      return [await runValidate({ manifests, quotas: {}, output: 'json' }, io), io.outText()];
    };
    const bad = folderOf({
      'a.yaml': [resource('ClientVpnEndpoint', 'corp', { spec: { port: 8443 } }), { apiVersion: 'v1', kind: 'Pod' }],
      'b.yaml': 'x: [',
    });
    const [code, text] = await json([bad]);
    assert.equal(code, 2);
    assert.match(text, /^\[.*\]\n$/);
    const [port, pod, yaml] = JSON.parse(text) as readonly Json[];
    const said =
      '{"severity":"error","file":"F/a.yaml","line":15,"kind":"ClientVpnEndpoint","name":"corp","field":"spec.port","message":"8443 is not one of 443, 1194"}';
    assert.equal(JSON.stringify(port), said.replace('F', bad));
    assert.deepEqual([pod?.['severity'], pod?.['kind'], pod?.['name'], pod?.['field']], ['warning', 'Pod', null, null]);
    assert.deepEqual(
      [yaml?.['severity'], yaml?.['kind'], yaml?.['name'], yaml?.['field']],
      ['error', null, null, null],
    );
    const rule = { spec: { endpointRef: { name: 'none' } } };
    assert.equal((await json([folderOf({ 'a.yaml': [resource('Route', 'r', rule)] })]))[0], 2);
    assert.deepEqual(await json([folderOf({ 'a.yaml': [resource('IdentityProvider', 'staff'), STAFF] })]), [0, '[]\n']);
  });

  it('names each file that cannot be read, and what is wrong with the others', async () => {
    const folder = folderOf({ 'a.yaml': [endpoint, network], 'huge.yaml': '', 'z.yaml': 'a: [' });
    truncateSync(join(folder, 'huge.yaml'), 17 * 1024 * 1024);
    writeFileSync(join(folder, 'latin.yaml'), Buffer.from('# caf\u00e9', 'latin1'));
    symlinkSync('nowhere', join(folder, 'link.yaml'));
    const { code, lines } = await validate([folder, '/dev/zero']);
    assert.equal(code, 2);
    assert.deepEqual(
      lines.map((line) => line.replace(/, open .*|(YAML): .*/, '$1')),
      [
        '/dev/zero:1: -: -: is larger than 16777216 bytes',
        `${folder}/huge.yaml:1: -: -: is larger than 16777216 bytes`,
        `${folder}/latin.yaml:1: -: -: is not UTF-8 text`,
        `${folder}/link.yaml:1: -: -: ENOENT: no such file or directory`,
        `${folder}/z.yaml:1: -: -: YAML`,
      ],
    );
  });

  it('exits 2 for what is not accepted, with its reason', async () => {
    const { code, lines } = await validate([
      folderOf({ 'a.yaml': [endpoint, network, resource('TargetNetwork', 'net-b')] }),
    ]);
    assert.equal(code, 2);
    assert.match(
      lines.join(),
      /TargetNetwork\/net-b: spec\.zone: ZoneInUse: zone zone-a is taken by target network net-a$/,
    );
  });

  it('quotas default to the guide and can be raised [C77] [C51]', async () => {
    const folder = folderOf({ 'a.yaml': [endpoint, network, ...rules] });
    const refused = await validate([folder]);
    assert.equal(refused.code, 2);
    assert.match(refused.lines.join(), /AuthorizationRule\/r60: .*QuotaExceeded/);
    assert.equal((await validate([folder], { 'authorization-rules': 51 })).code, 0);
    assert.equal((await validate([folder], { rules: 51 })).code, 2);
  });

  it('a Secret that is missing is a warning, one that is wrong an error', async () => {
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'server' }, stringData: { 'tls.crt': 'x' } };
    assert.match(
      (await validate([folderOf({ 'a.yaml': [endpoint, secret] })])).lines.join(),
      /Secret server has no key tls\.key/,
    );
    const both = { ...secret, stringData: { 'tls.crt': 'x', 'tls.key': 'hunter2' } };
    const { code, lines } = await validate([folderOf({ 'a.yaml': [endpoint, both] })]);
    assert.equal(code, 2);
    assert.ok(!lines.join().includes('hunter2'));
    const base64 = { ...secret, stringData: {}, data: { 'tls.crt': '***' } };
    assert.match(
      (await validate([folderOf({ 'a.yaml': [base64] })])).lines.join(),
      /Secret\/server: data\.tls\.crt: is not base64/,
    );
  });

  it('a wrong users document is an error that quotes no secret', async () => {
    const users = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'staff' },
      stringData: { 'users.yaml': 'users: [{name: erin, passwordHash: hunter2}]' },
    };
    const { code, lines } = await validate([folderOf({ 'a.yaml': [resource('IdentityProvider', 'staff'), users] })]);
    assert.equal(code, 2);
    assert.match(
      lines.join(),
      /IdentityProvider\/staff: spec\.local\.usersSecretRef: UsersInvalid: users\[0\] \("erin"\)/,
    );
    assert.ok(!lines.join().includes('hunter2'));
  });

  it('a faulty endpoint does not make its children faulty, too', async () => {
    const faulty = resource('ClientVpnEndpoint', 'corp', { spec: { port: 1 } });
    const { lines } = await validate([folderOf({ 'a.yaml': [faulty, network, ...rules.slice(0, 2)] })]);
    assert.equal(lines.length, 1);
  });

  it('a path that is not there is an error', async () => {
    assert.equal((await validate(['/nonexistent/x.yaml'])).code, 2);
  });

  it('says that nothing was found where the folders hold no manifest at all', async () => {
    const [empty, other] = [folderOf({}), folderOf({ 'notes.txt': 'x: [' })];
    const { code, lines } = await validate([empty, other, empty]);
    assert.equal(code, 2);
    assert.deepEqual(
      lines.map((line) => line.replace(/(no manifests found).*/, '$1')).toSorted(),
      [empty, other].map((folder) => `${folder}:1: -: -: no manifests found`).toSorted(),
    );
    // Beside a folder that holds some, an empty one is none of our business.
    assert.deepEqual(await validate([empty, folderOf({ 'a.yaml': [endpoint, network] })]), { code: 0, lines: [] });
  });

  it('names a folder in a folder that holds manifests and is not read', async () => {
    const folder = folderOf({ 'a.yaml': [endpoint, network] });
    for (const name of ['secrets', 'notes', '.git']) mkdirSync(join(folder, name));
    writeFileSync(join(folder, 'secrets', 'broken.yaml'), 'x: [');
    writeFileSync(join(folder, 'notes', 'README.md'), 'x: [');
    writeFileSync(join(folder, '.git', 'x.json'), '[');
    const io = memoryIo();
    assert.equal(await runValidate({ manifests: [folder], quotas: {} }, io), 0);
    const skipped = io
      .outText()
      .split('\n')
      .filter((line) => line.includes('skipped'));
    const said = 'warning: skipped: folders in a folder are not read; name it too if it is meant';
    assert.deepEqual(skipped, [`${folder}/secrets:1: -: -: ${said}`]);
    const both = await validate([folder, `${folder}/secrets/`]);
    assert.deepEqual([both.code, both.lines.length], [2, 1]);
    assert.match(both.lines[0] ?? '', /broken\.yaml/);
  });

  it('follows links, as mounted ConfigMaps are made of them', async () => {
    const target = folderOf({ 'real.yaml': [resource('ClientVpnEndpoint', 'corp', { spec: { port: 1 } })] });
    const folder = folderOf({});
    symlinkSync(join(target, 'real.yaml'), join(folder, 'linked.yaml'));
    assert.equal((await validate([folder])).code, 2);
  });
});

describe('explain', () => {
  const staff = resource('IdentityProvider', 'staff');
  const local = resource('ClientVpnEndpoint', 'corp', {
    spec: { authentication: { mutual: null, local: { identityProviderRef: { name: 'staff' } } } },
  });
  const rule = (name: string, destinationCIDR: string, groupID?: string): Json =>
    resource('AuthorizationRule', name, {
      spec: { destinationCIDR, ...(groupID === undefined ? {} : { access: { allUsers: null, groupID } }) },
    });
  const folder = folderOf({
    'a.yaml': [
      staff,
      local,
      network,
      resource('Route', 'default', { spec: { destinationCIDR: '0.0.0.0/0' } }),
      rule('b-eng', '10.50.0.0/16', 'Eng'),
      rule('a-dev', '10.50.0.0/16', 'Dev'),
      rule('all', '10.50.9.0/24'),
    ],
  });
  const explain = async (
    to: readonly string[],
    groups: readonly string[],
    more: Partial<ExplainOptions> = {},
  ): Promise<{ readonly code: number; readonly out: string; readonly err: string }> => {
    const io = memoryIo();
    const options = { manifests: [folder], endpoint: 'corp', to, groups, quotas: {}, output: 'json' as const, ...more };
    return { code: await runExplain(options, io), out: io.outText(), err: io.errText() };
  };

  it('prints one object a line with exactly the agreed keys, and exits 1 when one is refused', async () => {
    const { code, out } = await explain(['10.50.1.1', '10.50.9.1', '203.0.113.1', '169.254.169.254'], ['Eng']);
    assert.equal(code, 1);
    assert.deepEqual(out.trimEnd().split('\n'), [
      '{"to":"10.50.1.1","allowed":true,"reason":"Allowed","route":"net-a-10-50-0-0-16","rule":"b-eng","grantedTo":["Dev","Eng"]}',
      '{"to":"10.50.9.1","allowed":true,"reason":"Allowed","route":"net-a-10-50-0-0-16","rule":"all","grantedTo":["allUsers"]}',
      '{"to":"203.0.113.1","allowed":false,"reason":"NoRule","route":"default","rule":null,"grantedTo":[]}',
      '{"to":"169.254.169.254","allowed":false,"reason":"SpecialDestination","route":null,"rule":null,"grantedTo":[]}',
    ]);
  });

  it('names the granting rule of a prefix, else the first by name; groups compare exactly [C75]', async () => {
    assert.match((await explain(['10.50.1.1'], ['Dev'])).out, /"rule":"a-dev"/);
    assert.match((await explain(['10.50.1.1'], ['eng'])).out, /"reason":"NotGranted".*"rule":"a-dev"/);
    assert.equal((await explain(['10.50.1.1'], ['Dev', 'Eng'])).code, 0);
  });

  it('no rule, no passage [C60]', async () => {
    const bare = folderOf({ 'a.yaml': [endpoint, network] });
    const { code, out } = await explain(['10.50.1.1'], [], { manifests: [bare] });
    assert.equal(code, 1);
    assert.match(out, /"reason":"NoRule"/);
  });

  it('client to client needs both a Local route and an all-users rule [C48]', async () => {
    const toClients = resource('Route', 'clients', {
      spec: { destinationCIDR: '10.8.0.0/16', target: { type: 'Local', targetNetworkRef: null } },
    });
    const everywhere = rule('everywhere', '0.0.0.0/0', 'Eng');
    const reasonWith = async (...objects: readonly Json[]): Promise<string> => {
      const manifests = [folderOf({ 'a.yaml': [staff, local, network, ...objects] })];
      return JSON.parse((await explain(['10.8.7.7'], ['Eng'], { manifests })).out).reason;
    };
    assert.equal(await reasonWith(rule('clients', '10.8.0.0/16')), 'NoRoute');
    assert.equal(await reasonWith(toClients), 'NoRule');
    assert.equal(await reasonWith(toClients, everywhere), 'NoRule');
    assert.equal(await reasonWith(toClients, everywhere, rule('clients', '10.8.0.0/16')), 'Allowed');
  });

  it('answers in words by default', async () => {
    const { out } = await explain(['203.0.113.1', '10.50.9.1'], [], { output: 'text' });
    assert.deepEqual(out.trimEnd().split('\n'), [
      '203.0.113.1: refused (NoRule): route default, but no rule is about it',
      '10.50.9.1: allowed: route net-a-10-50-0-0-16, rule all',
    ]);
  });

  it("says nothing about certificates that are elsewhere, which decide nobody's reach", async () => {
    const { code, out, err } = await explain(['10.50.1.1'], ['Eng'], {
      manifests: ['examples/quickstart'],
      endpoint: 'quickstart',
    });
    assert.deepEqual([code, err], [0, '']);
    assert.match(out, /"reason":"Allowed"/);
  });

  it('asks for the target network where there are several, and uses its routes', async () => {
    const other = resource('TargetNetwork', 'net-b', { spec: { zone: 'b' } });
    const manifests = [folder, folderOf({ 'b.yaml': [other] })];
    assert.match(
      (await explain(['203.0.113.1'], [], { manifests })).err,
      /--target-network is needed, one of: net-a, net-b/,
    );
    const { code, out } = await explain(['203.0.113.1'], [], { manifests, targetNetwork: 'net-b' });
    assert.equal(code, 1);
    assert.match(out, /"reason":"NoRoute"/);
    assert.equal((await explain(['203.0.113.1'], [], { targetNetwork: 'net-z' })).code, 2);
  });

  it('takes an endpoint as NAME or NAMESPACE/NAME, and no more', async () => {
    assert.equal((await explain(['10.50.1.1'], ['Eng'], { endpoint: 'default/corp' })).code, 0);
    for (const endpoint of ['other/corp', 'default/corp/x', '/corp'])
      assert.match((await explain(['10.50.1.1'], ['Eng'], { endpoint })).err, /there is no endpoint/);
  });

  for (const [what, more, to] of [
    ['an address that is none', {}, ['10.50.1']],
    ['no address', {}, []],
    ['an unknown endpoint', { endpoint: 'corpse' }, ['10.50.1.1']],
    ['a path that is not there', { manifests: ['/nonexistent'] }, ['10.50.1.1']],
    ['an unknown quota', { quotas: { cats: 1 } }, ['10.50.1.1']],
  ] as const) {
    it(`exits 2 on ${what} and prints no answer`, async () => {
      const { code, out, err } = await explain(to, [], more);
      assert.equal(code, 2);
      assert.equal(out, '');
      assert.notEqual(err, '');
    });
  }

  it('exits 2 when the manifests break the schema, with the findings', async () => {
    const bad = folderOf({ 'z.yaml': [resource('ClientVpnEndpoint', 'corp', { spec: { port: 1 } })] });
    const { code, err } = await explain(['10.50.1.1'], [], { manifests: [bad] });
    assert.equal(code, 2);
    assert.match(err, /spec\.port: 1 is not one of/);
  });
});
