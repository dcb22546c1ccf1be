import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadValidator } from '../../../standalone/check-manifests.ts';
import { defaultCrdDirectory, readResourceSchemas, type CrdSchema } from '../../../standalone/resource-schemas.ts';
import { SchemaValidator } from '../../../standalone/schema-validation.ts';
import { BASE_RESOURCES, documentOf, patched, type Json } from '../../support/base-resources.ts';

interface Case {
  /** Where the rule stands, as `Kind: path`. */
  readonly at: string;
  readonly message: string;
  /** What is done to a valid object. */
  readonly patch: Json;
  /** For rules about changes: what is done to the old object. */
  readonly before?: Json;
}

const provider = { identityProviderRef: { name: 'p' } };
const cidr = '10.60.1.0/16';

const CASES: readonly Case[] = [
  ...endpointCases(),
  ...targetNetworkCases(),
  ...destinationCases('Route'),
  ...destinationCases('AuthorizationRule'),
  {
    at: 'Route: spec.target',
    message: 'target is immutable',
    patch: { spec: { target: { targetNetworkRef: { name: 'net-b' } } } },
    before: {},
  },
  {
    at: 'Route: spec.target',
    message: 'targetNetworkRef goes with type TargetNetwork, and only with it',
    patch: { spec: { target: { type: 'Local' } } },
  },
  {
    at: 'AuthorizationRule: spec.access',
    message: 'access is immutable',
    patch: { spec: { access: { allUsers: null, groupID: 'Eng' } } },
    before: {},
  },
  {
    at: 'AuthorizationRule: spec.access',
    message: 'exactly one of groupID and allUsers',
    patch: { spec: { access: { groupID: 'Eng' } } },
  },
  ...providerCases(),
];

function endpointCases(): readonly Case[] {
  const of = (path: string, message: string, spec: Json, before?: Json): Case => {
    const at = `ClientVpnEndpoint: ${path}`;
    return before === undefined ? { at, message, patch: { spec } } : { at, message, patch: { spec }, before };
  };
  const crl = { clientCertificateRevocationList: { source: { secretRef: { name: 'crl' } } } };
  return [
    {
      at: 'ClientVpnEndpoint: -',
      message: 'name at most 40 characters (derived object names)',
      patch: { metadata: { name: 'a'.repeat(41) } },
    },
    of('spec', 'clientCIDR overlaps the VPC', { vpc: { name: 'main', cidrs: ['10.8.4.0/24'] } }),
    of('spec', 'the portal needs user-based authentication', { selfServicePortal: { enabled: true } }),
    of('spec', 'a CRL needs mutual authentication', { authentication: { mutual: null, local: provider }, ...crl }),
    of('spec.clientCIDR', 'clientCIDR is immutable', { clientCIDR: '10.12.0.0/16' }, {}),
    of('spec.clientCIDR', 'clientCIDR must be an IPv4 CIDR', { clientCIDR: 'fd00::/16' }),
    of('spec.clientCIDR', 'clientCIDR must be between /12 and /22', { clientCIDR: '10.8.0.0/23' }),
    of('spec.clientCIDR', 'clientCIDR has host bits set', { clientCIDR: '10.0.1.0/22' }),
    of(
      'spec.authentication',
      'authentication options and the client certificate reference are immutable',
      { authentication: { mutual: { clientCA: { secretRef: { name: 'others' } } } } },
      {},
    ),
    of('spec.authentication', 'choose an authentication method', { authentication: { mutual: null } }),
    of('spec.authentication', 'activeDirectory, federated and local exclude each other', {
      authentication: { activeDirectory: provider, federated: provider },
    }),
    of('spec.authentication.mutual.clientCA', 'exactly one of secretRef and configMapRef', {
      authentication: { mutual: { clientCA: { configMapRef: { name: 'clients' } } } },
    }),
    of('spec.transport', 'transport is immutable', { transport: 'tcp' }, {}),
    of('spec.controlWrap', 'controlWrap is immutable', { controlWrap: 'TlsCrypt' }, {}),
    of('spec.dnsServers', 'IPv4 addresses only', { dnsServers: ['9.9.9.9', 'fd00::1'] }),
    of('spec.vpc.cidrs', 'vpc.cidrs must be IPv4 CIDRs', { vpc: { name: 'main', cidrs: ['fd00::/16'] } }),
    of('spec.vpc.cidrs', 'vpc.cidrs has host bits set', { vpc: { name: 'main', cidrs: ['10.60.0.1/16'] } }),
    of('spec.connectionLogging.sinks[]', 'endpoint is required unless the type is Stdout', {
      connectionLogging: { sinks: [{ type: 'HTTP' }] },
    }),
    of('spec.clientConnectHandler', 'url or serviceRef required', { clientConnectHandler: { enabled: true } }),
    of('spec.clientConnectHandler', 'url and serviceRef exclude each other', {
      clientConnectHandler: { url: 'https://h.example', serviceRef: { name: 'h', port: 443 } },
    }),
    of('spec.clientConnectHandler', 'https only', { clientConnectHandler: { url: 'http://h.example' } }),
    of('spec.clientLoginBanner', 'text is required when the banner is enabled', {
      clientLoginBanner: { enabled: true },
    }),
    of('spec.clientCertificateRevocationList.source', 'exactly one source', {
      clientCertificateRevocationList: { source: { secretRef: { name: 'a' }, configMapRef: { name: 'b' } } },
    }),
    of('spec.clientCertificateRevocationList.source.url', 'https only', {
      clientCertificateRevocationList: { source: { url: { href: 'http://crl.example/a.crl' } } },
    }),
    of('spec.dataPlane', 'replicasPerTargetNetwork and autoscaling exclude each other', {
      dataPlane: { replicasPerTargetNetwork: 2, autoscaling: { minReplicas: 1, maxReplicas: 3 } },
    }),
    of('spec.dataPlane.autoscaling', 'minReplicas is greater than maxReplicas', {
      dataPlane: { autoscaling: { minReplicas: 3, maxReplicas: 2 } },
    }),
  ];
}

function targetNetworkCases(): readonly Case[] {
  const of = (path: string, message: string, spec: Json, before?: Json): Case => {
    const at = `TargetNetwork: ${path}`;
    return before === undefined ? { at, message, patch: { spec } } : { at, message, patch: { spec }, before };
  };
  return [
    of('spec', 'vpc.name is immutable', { vpc: { name: 'other' } }, {}),
    of('spec.endpointRef', 'endpointRef is immutable', { endpointRef: { name: 'other' } }, {}),
    of('spec.zone', 'zone is immutable', { zone: 'zone-b' }, {}),
    of('spec.zoneLabelKey', 'zoneLabelKey is immutable', { zoneLabelKey: 'rack' }, {}),
    of('spec.subnet.cidr', 'subnet.cidr is immutable', { subnet: { cidr: '10.50.9.0/24' } }, {}),
    of('spec.subnet.cidr', 'subnet.cidr must be an IPv4 CIDR', { subnet: { cidr: 'fd00::/24' } }),
    of('spec.subnet.cidr', 'subnet.cidr must be /27 or larger', { subnet: { cidr: '10.50.0.0/28' } }),
    of('spec.subnet.cidr', 'subnet.cidr has host bits set', { subnet: { cidr: '10.50.0.1/24' } }),
    of(
      'spec.subnet.attachment',
      'subnet.attachment is immutable',
      { subnet: { attachment: { type: 'HostNetwork' } } },
      {},
    ),
    of(
      'spec.subnet.attachment',
      'networkAttachmentDefinition goes with type NetworkAttachmentDefinition, and only with it',
      { subnet: { attachment: { type: 'NetworkAttachmentDefinition' } } },
    ),
    of('spec.vpc.cidrs', 'vpc.cidrs must be IPv4 CIDRs', { vpc: { cidrs: ['fd00::/16'] } }),
    of('spec.vpc.cidrs', 'vpc.cidrs has host bits set', { vpc: { cidrs: ['10.60.0.1/16'] } }),
  ];
}

function destinationCases(kind: string): readonly Case[] {
  const at = `${kind}: spec.destinationCIDR`;
  const set = (destinationCIDR: string): Json => ({ spec: { destinationCIDR } });
  return [
    { at, message: 'destinationCIDR is immutable', patch: set('10.61.0.0/16'), before: {} },
    { at, message: 'destinationCIDR must be an IPv4 CIDR', patch: set('fd00::/16') },
    { at, message: 'destinationCIDR has host bits set', patch: set(cidr) },
    {
      at: `${kind}: spec.endpointRef`,
      message: 'endpointRef is immutable',
      patch: { spec: { endpointRef: { name: 'other' } } },
      before: {},
    },
  ];
}

function providerCases(): readonly Case[] {
  const of = (path: string, message: string, patch: Json, before?: Json): Case => {
    const at = `IdentityProvider: ${path}`;
    return before === undefined ? { at, message, patch } : { at, message, patch, before };
  };
  const directory = { urls: ['ldaps://dc.example'], baseDN: 'dc=example', bindSecretRef: { name: 'bind' } };
  const ad = (more: Json): Json => ({
    spec: { type: 'ActiveDirectory', local: null, activeDirectory: patched(directory, more) },
  });
  const saml = (more: Json): Json => ({
    spec: { type: 'Saml', local: null, saml: patched({ metadata: { secretRef: { name: 'm' } } }, more) },
  });
  const prompt = 'printable ASCII without quotation marks only';
  return [
    of('spec', 'local goes with type Local, and only with it', { spec: { local: null } }),
    of('spec', 'activeDirectory goes with type ActiveDirectory, and only with it', {
      spec: { activeDirectory: directory },
    }),
    of('spec', 'saml goes with type Saml, and only with it', {
      spec: { saml: { metadata: { secretRef: { name: 'm' } } } },
    }),
    of('spec.type', 'type is immutable', ad({}), {}),
    of('spec.local.mfa.prompt', prompt, { spec: { local: { mfa: { prompt: 'Enter "code"' } } } }),
    of('spec.activeDirectory.urls', 'ldaps (or ldap with startTLS) only', ad({ urls: ['http://dc.example'] })),
    of('spec.activeDirectory.mfa', 'radius is required for RADIUS codes', ad({ mfa: { enabled: true } })),
    of('spec.activeDirectory.mfa.prompt', prompt, ad({ mfa: { prompt: 'Kód' } })),
    of('spec.saml.metadata', 'exactly one source', saml({ metadata: { configMapRef: { name: 'm' } } })),
    of(
      'spec.saml.metadata.url',
      'https only',
      saml({ metadata: { secretRef: null, url: { href: 'http://idp.example' } } }),
    ),
    of('spec.saml.portalACSURL', 'https only', saml({ portalACSURL: 'http://portal.example' })),
  ];
}

interface RulePlace {
  readonly kind: string;
  readonly key: string;
  readonly rules: { readonly message?: string; readonly rule: string }[];
  readonly index: number;
}

function rulePlaces(schemas: ReadonlyMap<string, CrdSchema>): readonly RulePlace[] {
  return [...schemas].flatMap(([kind, root]) => {
    const visit = (schema: CrdSchema, path: string): RulePlace[] => {
      const rules = [...(schema['x-kubernetes-validations'] ?? [])];
      const here = rules.map((rule, index) => ({
        kind,
        key: `${kind}: ${path === '' ? '-' : path}: ${rule.message ?? ''}`,
        rules: schema['x-kubernetes-validations'] as RulePlace['rules'],
        index,
      }));
      const below = Object.entries(schema.properties ?? {}).flatMap(([name, child]) =>
        visit(child, path === '' ? name : `${path}.${name}`),
      );
      return [...here, ...below, ...(schema.items === undefined ? [] : visit(schema.items, `${path}[]`))];
    };
    return visit(root, '');
  });
}

function messagesOf(validator: SchemaValidator, test: Case): readonly string[] {
  const kind = test.at.slice(0, test.at.indexOf(':'));
  const base = BASE_RESOURCES[kind] ?? {};
  const document = documentOf(patched(base, test.patch));
  const now = validator.validate(document);
  const messages = now.findings.map((finding) => finding.message);
  if (test.before === undefined) return messages;
  const old = validator.validate(documentOf(patched(base, test.before)));
  assert.deepEqual(old.findings, []);
  return [...messages, ...validator.validateTransition(old.value, now.value, document).map(({ message }) => message)];
}

describe('CEL rules of crds/ [C3] [C4] [C5] [C7] [C11] [C12] [C13] [C15] [C26] [C73]', async () => {
  const shipped = await loadValidator();
  const shippedSchemas = await readResourceSchemas(await defaultCrdDirectory());

  for (const [kind, object] of Object.entries(BASE_RESOURCES)) {
    it(`a valid ${kind} has no finding, created or kept`, () => {
      const document = documentOf(object);
      const { value, findings } = shipped.validate(document);
      assert.deepEqual(findings, []);
      assert.deepEqual(shipped.validateTransition(value, value, document), []);
    });
  }

  it('has a case for every rule', () => {
    const places = rulePlaces(shippedSchemas).map(({ key }) => key);
    const covered = CASES.map(({ at, message }) => `${at}: ${message}`);
    assert.deepEqual(covered.toSorted(), places.toSorted());
  });

  for (const test of CASES) {
    it(`${test.at}: refuses what breaks "${test.message}", and only by that rule`, () => {
      assert.ok(messagesOf(shipped, test).includes(test.message), 'refused by the shipped rules');
      const schemas = structuredClone<ReadonlyMap<string, CrdSchema>>(shippedSchemas);
      const place = rulePlaces(schemas).find(({ key }) => key === `${test.at}: ${test.message}`);
      place?.rules.splice(place.index, 1);
      const kind = test.at.slice(0, test.at.indexOf(':'));
      const schema = schemas.get(kind);
      assert.ok(schema !== undefined);
      const weakened = new SchemaValidator(new Map([[kind, schema]]));
      assert.ok(!messagesOf(weakened, test).includes(test.message), 'the rule stands nowhere else');
    });
  }

  it('a rule deleted from the files is gone from validation', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cvpn-crds-'));
    cpSync(await defaultCrdDirectory(), folder, { recursive: true });
    const file = join(folder, 'authorizationrules.yaml');
    const text = readFileSync(file, 'utf8');
    const rule = / *- rule: .*groupID.*\n *message: exactly one of groupID and allUsers\n/;
    assert.match(text, rule);
    writeFileSync(file, text.replace(rule, ''));
    const document = documentOf(
      patched(BASE_RESOURCES['AuthorizationRule'] ?? {}, { spec: { access: { groupID: 'Eng' } } }),
    );
    assert.equal(shipped.validate(document).findings.length, 1);
    assert.deepEqual((await loadValidator(folder)).validate(document).findings, []);
    rmSync(folder, { recursive: true });
  });
});
