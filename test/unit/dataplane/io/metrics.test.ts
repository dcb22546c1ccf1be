import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { Metrics, type MetricSources } from '../../../../dataplane/io/metrics.ts';
import type { EngineEvent } from '../../../../dataplane/sessions/engine-io.ts';
import { ATTEMPT } from '../../../support/connection-facts.ts';
import { ROOT } from '../../../support/source-tree.ts';

const guide = readFileSync(join(ROOT, 'docs', 'operations.md'), 'utf8');
const watching = /^## Watching$([^]*?)^## /m.exec(guide)?.[1] ?? '';

const alerts = [...watching.matchAll(/^\| (`[^|]+?) +\| ([^|]+?) +\| [^|]+ \|$/gm)].map(([, ...cells]) => cells);
/** What ordinary clients, users and strangers cause every day. */
const NORMAL_LIFE = ['no-route', 'no-rule', 'not-granted', 'ipv6', 'data-replayed', 'bad-password', 'unknown-peer'];

/** What `docs/reasons.md`, which a test holds against the code, says that a metric may have for a reason. */
function reasonsOf(metric: string): readonly string[] {
  const sections = readFileSync(join(ROOT, 'docs', 'reasons.md'), 'utf8').split(/^## /m);
  return sections
    .filter((section) => section.slice(0, section.indexOf('\n| ')).includes(metric))
    .flatMap((section) => [...section.matchAll(/^\| `([^`]+)`/gm)].map(([, reason = '']) => reason));
}

/** Labels beyond those that every metric has, as the document writes them. */
function labelsOf(samples: string): string {
  const names = new Set([...samples.matchAll(/[{,](\w+)="/g)].map(([, name = '']) => name));
  for (const common of ['endpoint', 'namespace', 'target_network', 'le']) names.delete(common);
  return names.size === 0 ? '–' : [...names].map((name) => `\`${name}\``).join(', ');
}

const remote = '192.0.2.1:1';
const ONE_OF_EACH: readonly EngineEvent[] = [
  { kind: 'connected', connection: ATTEMPT },
  { kind: 'connectionAttemptFailed', connection: ATTEMPT, reason: 'bad-password', isTemporary: false },
  { kind: 'connectionAttemptFailed', connection: ATTEMPT, reason: 'no-address-left', isTemporary: true },
  {
    kind: 'disconnected',
    connection: ATTEMPT,
    reason: 'client-exit',
    establishedMs: 0,
    endedMs: 1,
    traffic: null,
  },
  { kind: 'renewed', connectionId: '', keyId: 1 },
  { kind: 'floated', connectionId: '', from: remote, to: remote },
  { kind: 'certificateRefused', remote, reason: 'certificate-expired' },
  { kind: 'refused', remote, reason: 'memory-short', count: 1 },
  { kind: 'handshakeFailed', remote, reason: 'hand-window-over' },
];

suite('Metrics', () => {
  const now = Date.UTC(2026, 10, 23);
  let drops: ReturnType<MetricSources['drops']> = { 'bad-tag': 3, 'not-granted': 1 };
  let areManifestsRefused = false;
  let revocationListEnds: number | null = now + 36 * 3_600_000;
  const sources: MetricSources = {
    activeConnections: () => 7,
    traffic: () => ({ ingressBytes: 1000, egressBytes: 2000, ingressPackets: 10, egressPackets: 20 }),
    drops: () => drops,
    batches: () => ({ udpReceive: { runs: 4, packets: 100 }, seal: { runs: 2, packets: 64 } }),
    addressPool: () => ({ used: 7, size: 1021 }),
    snapshot: () => ({ version: 12, epoch: 3, compiledAt: now - 5000 }),
    serverCertificateEnds: () => now - 12 * 3_600_000,
    revocationListEnds: () => revocationListEnds,
    history: () => ({ ended: { kept: 5, limit: 10_000 }, failed: { kept: 1, limit: 1000 } }),
    loggingDropped: () => 2,
    strays: () => 6,
    acksSuperseded: () => 8,
    isMemoryShort: () => true,
    areManifestsRefused: () => areManifestsRefused,
    passwordChecksWaiting: () => 0,
    startsWaiting: () => 3,
    now: () => now,
  };
  const metrics = new Metrics({ endpoint: 'main', namespace: 'vpn', target_network: 'net-a' }, sources);
  after(() => metrics.close());

  const value = async (name: string, labels = ''): Promise<number | undefined> => {
    const { text } = await metrics.exposition();
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${name}{${labels}`));
    return line === undefined ? undefined : Number(line.split(' ').at(-1));
  };

  test("shows the guide's metrics with endpoint, namespace and target network", async () => {
    const { text, contentType } = await metrics.exposition();
    assert.match(contentType, /^text\/plain/);
    const labels = 'endpoint="main",namespace="vpn",target_network="net-a"';
    assert.ok(text.includes(`clientvpn_active_connections{${labels}} 7`));
    assert.ok(text.includes(`clientvpn_ingress_bytes_total{${labels}} 1000`));
    assert.ok(text.includes(`clientvpn_egress_packets_total{${labels}} 20`));
    assert.equal(await value('clientvpn_acks_superseded_total'), 8);
    assert.equal(await value('clientvpn_snapshot_version'), 12);
    assert.equal(await value('clientvpn_memory_short'), 1);
    assert.equal(await value('clientvpn_session_starts_waiting'), 3);
    assert.equal(await value('clientvpn_snapshot_age_seconds'), 5);
    assert.equal(await value('clientvpn_batch_packets_total', 'stage="seal"'), 64);
    assert.equal(await value('clientvpn_connection_history', 'state="ended",bound="limit"'), 10_000);
    assert.ok((await value('clientvpn_event_loop_lag_seconds', 'quantile="0.99"')) !== undefined);
  });

  test('every metric that operators are told to watch is served', async () => {
    const named = [...watching.matchAll(/`([a-z]+(?:_[a-z]+)+)`/g)].map((match) => match[1]);
    for (const name of ['active_connections', 'manifests_refused', 'memory_short'])
      assert.ok(named.includes(name), name);
    const { text } = await metrics.exposition();
    assert.deepEqual(
      named.filter((name) => !text.includes(`# HELP clientvpn_${name} `) && !text.includes(`# HELP ${name} `)),
      [],
    );
  });

  test('every metric there is has a row that says its kind, its labels and what it counts', async () => {
    const all = new Metrics({ endpoint: 'main', namespace: 'vpn', target_network: 'net-a' }, sources);
    after(() => all.close());
    for (const event of ONE_OF_EACH) all.onEvent(event);
    all.faulted('deadline');
    all.loginTook(1);
    const { text } = await all.exposition();
    const served = [...text.matchAll(/^# HELP clientvpn_(\w+) (.*)\n# TYPE \S+ (\w+)\n([^#]*)/gm)];
    const documented = [...watching.matchAll(/^\| `(\w+)` +\| (\w+) +\| ([^|]*?) +\| ([^|]+?) +\|$/gm)];
    assert.ok(served.length > 30, String(served.length));
    assert.deepEqual(
      documented.map(([, ...cells]) => cells),
      served
        .map(([, name = '', help = '', type = '', samples = '']) => [name, type, labelsOf(samples), help])
        .toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)),
    );
  });

  test('an alert on a metric that has reasons names those worth it, each of which it can have', () => {
    for (const [metric = '', when = ''] of alerts) {
      const possible = reasonsOf(metric);
      if (possible.length === 0) continue;
      const named = [...when.matchAll(/`([a-z-]+)`/g)].map(([, reason = '']) => reason);
      assert.ok(named.length > 0, `${metric}: ${when}`);
      for (const reason of named) {
        assert.ok(possible.includes(reason), `${metric}: ${reason}`);
        assert.ok(!NORMAL_LIFE.includes(reason), `${metric}: ${reason} is no alert`);
      }
    }
  });

  test('outages are among the alerts, also those in which nothing is left to count them', () => {
    const watched = alerts.map(([metric = '', when = '']) => `${metric} ${when}`);
    for (const sign of ['`up`', '`process_start_time_seconds`', '`/readyz`', '`ring-full`', '`start-limit`'])
      assert.ok(
        watched.some((row) => row.includes(sign)),
        sign,
      );
  });

  test('lost log lines are put down to whatever may lose them, and to the process they are of', async () => {
    const { text } = await metrics.exposition();
    const help = /^# HELP clientvpn_log_lines_dropped_total (.*)$/m.exec(text)?.[1] ?? '';
    const row = /^\| `log_lines_dropped_total` .*$/m.exec(watching)?.[0] ?? '';
    for (const told of [help, row]) for (const part of [/reader|reads/, /disk/, /data plane/]) assert.match(told, part);
  });

  test('no lag is shown that is not measured', async () => {
    const { text } = await metrics.exposition();
    const lags = [...text.matchAll(/^# TYPE (\S*event_?loop_lag\S*) /gm)].map((match) => match[1]);
    assert.deepEqual(new Set(lags), new Set(['nodejs_eventloop_lag_seconds', 'clientvpn_event_loop_lag_seconds']));
  });

  test('totals kept elsewhere follow their source', async () => {
    assert.equal(await value('clientvpn_drops_total', 'reason="bad-tag"'), 3);
    drops = { 'bad-tag': 10 };
    assert.equal(await value('clientvpn_drops_total', 'reason="bad-tag"'), 10);
    assert.equal(await value('clientvpn_drops_total', 'reason="bad-tag"'), 10);
  });

  test('manifests that are refused show as long as they are', async () => {
    assert.equal(await value('clientvpn_manifests_refused'), 0);
    areManifestsRefused = true;
    assert.equal(await value('clientvpn_manifests_refused'), 1);
  });

  test('[C95] days until the revocation list ends, and nothing without a list', async () => {
    assert.equal(await value('clientvpn_crl_days_to_expiry'), 1.5);
    revocationListEnds = null;
    assert.equal(await value('clientvpn_crl_days_to_expiry'), undefined);
  });

  test("[C18] days since the server's certificate ended count below zero", async () => {
    assert.equal(await value('clientvpn_server_certificate_days_to_expiry'), -0.5);
  });

  test('[C79] [C88] failed logins, refused certificates and a lack of room are counted apart', async () => {
    const failed = { kind: 'connectionAttemptFailed', connection: ATTEMPT } as const;
    metrics.onEvent({ ...failed, reason: 'bad-password', isTemporary: false });
    metrics.onEvent({ ...failed, reason: 'no-address-left', isTemporary: true });
    metrics.onEvent({ kind: 'certificateRefused', remote: '192.0.2.1:1', reason: 'certificate-expired' });
    assert.equal(await value('clientvpn_authentication_failures_total', 'reason="bad-password"'), 1);
    assert.equal(await value('clientvpn_authentication_failures_total', 'reason="no-address-left"'), undefined);
    assert.equal(await value('clientvpn_logins_turned_away_total', 'reason="no-address-left"'), 1);
    assert.equal(await value('clientvpn_connection_attempts_total', 'outcome="failed"'), 2);
    assert.equal(await value('clientvpn_certificates_refused_total', 'reason="certificate-expired"'), 1);
    metrics.onEvent({ kind: 'refused', remote: '192.0.2.1:1', reason: 'no-descriptor-left', count: 5 });
    assert.equal(await value('clientvpn_session_starts_refused_total', 'reason="no-descriptor-left"'), 5);
    const { text } = await metrics.exposition();
    assert.ok(!text.includes('joe') && !text.includes('192.0.2.1'));
  });
});
