import assert from 'node:assert/strict';
import { test } from 'node:test';
import { echoRequest, isEchoReply, isRefusal, sourceOf } from '../../../support/inner-packets.ts';
import { udpPacket } from '../../../support/ip-twin.ts';
import { prefix } from '../../../support/prefixes.ts';
import { inPrivateNetwork } from '../../../support/private-network.ts';
import {
  GATEWAY,
  openPolicy,
  TARGET,
  TunnelLab,
  UdpLabClient,
  type LabPeerOptions,
} from '../../../support/tunnel-lab.ts';
import { waitFor } from '../../../support/wait.ts';

async function withClient(
  options: Partial<LabPeerOptions> & { readonly threads?: number },
  run: (lab: TunnelLab, client: UdpLabClient) => Promise<void>,
): Promise<void> {
  await using lab = await TunnelLab.start({ threads: options.threads ?? 1, transport: 'udp' });
  await lab.setPolicy(openPolicy());
  const client = new UdpLabClient(lab, { peerId: 0, tunnelAddress: '10.8.0.2', ...options });
  await lab.settle();
  await run(lab, client);
  client.close();
}

/** Nothing answers: the marker sent behind it is answered, it is not. */
async function isSilent(client: UdpLabClient, packet: Uint8Array, wrong: (answer: Uint8Array) => boolean) {
  client.send(packet, echoRequest(client.tunnelAddress, GATEWAY, 0xfffe));
  await client.receive((answer) => isEchoReply(answer, 0xfffe));
  client.received
    .splice(0, client.received.findIndex((answer) => isEchoReply(answer, 0xfffe)) + 1)
    .forEach((answer) => {
      assert.ok(!wrong(answer), `unexpected answer from ${sourceOf(answer)}`);
    });
}

inPrivateNetwork(import.meta.filename, () => {
  for (const threads of [1, 2]) {
    test(`clients ping the gateway and the target (${threads} threads)`, async () => {
      await using lab = await TunnelLab.start({ threads, transport: 'udp' });
      await lab.setPolicy(openPolicy());
      for (const peerId of [0, 1]) {
        const client = new UdpLabClient(lab, { peerId, tunnelAddress: `10.8.0.${peerId + 2}` });
        await lab.settle();
        client.send(echoRequest(client.tunnelAddress, GATEWAY, 1), echoRequest(client.tunnelAddress, TARGET, 2));
        assert.equal(sourceOf(await client.receive((packet) => isEchoReply(packet, 1))), GATEWAY);
        assert.equal(sourceOf(await client.receive((packet) => isEchoReply(packet, 2))), TARGET);
        const traffic = lab.host.traffic(peerId);
        assert.deepEqual([traffic?.ingressPackets, traffic?.egressPackets], [2, 2]);
        assert.deepEqual([traffic?.ingressBytes, traffic?.egressBytes], [168, 168]);
        client.close();
      }
    });
  }

  test('a ping of 1,480 bytes arrives whole', () =>
    withClient({}, async (_lab, client) => {
      const request = echoRequest(client.tunnelAddress, TARGET, 5, 1472);
      assert.equal(request.length, 1500);
      client.send(request);
      const reply = await client.receive((packet) => isEchoReply(packet, 5));
      assert.deepEqual(reply.subarray(28), request.subarray(28));
    }));

  test('[C71] a rule that is removed cuts, and the client is told so', () =>
    withClient({}, async (lab, client) => {
      client.send(echoRequest(client.tunnelAddress, TARGET, 1));
      await client.receive((packet) => isEchoReply(packet, 1));
      await lab.setPolicy({ ...openPolicy(), rules: [] });
      client.send(echoRequest(client.tunnelAddress, TARGET, 2));
      assert.equal(sourceOf(await client.receive(isRefusal)), GATEWAY);
      assert.ok(!client.received.some((packet) => isEchoReply(packet, 2)));
      assert.equal(lab.host.counters().drops.NoRule, 1);
      await lab.setPolicy(openPolicy());
      client.send(echoRequest(client.tunnelAddress, TARGET, 3));
      await client.receive((packet) => isEchoReply(packet, 3));
    }));

  test('groups of a peer and the policy that names them hold from the same packet on', () =>
    withClient({}, async (lab, client) => {
      const rules = [{ prefix: prefix('10.60.0.0/16'), allUsers: false, group: 'eng' }];
      await lab.setPolicy({ ...openPolicy(), rules });
      client.send(echoRequest(client.tunnelAddress, TARGET, 1));
      await client.receive(isRefusal);
      lab.host.setGroups(0, lab.groups.idsOf(['eng']));
      await lab.settle();
      client.send(echoRequest(client.tunnelAddress, TARGET, 2));
      await client.receive((packet) => isEchoReply(packet, 2));
    }));

  test('[P70] a spoofed source is dropped in silence', () =>
    withClient({}, async (lab, client) => {
      await isSilent(
        client,
        echoRequest('10.8.0.77', TARGET, 9),
        (answer) => isRefusal(answer) || isEchoReply(answer, 9),
      );
      assert.equal(lab.host.counters().drops.SpoofedSource, 1);
    }));

  test('refusals are rate-limited to ten a second', () =>
    withClient({}, async (lab, client) => {
      const packets = Array.from({ length: 500 }, (_, i) =>
        udpPacket([client.tunnelAddress, 5000], ['192.0.2.1', 9], new Uint8Array(4), i),
      );
      client.send(...packets, echoRequest(client.tunnelAddress, GATEWAY, 1));
      await client.receive((packet) => isEchoReply(packet, 1));
      assert.equal(lab.host.counters().drops.NoRoute, 500);
      const refusals = client.received.filter(isRefusal).length;
      assert.ok(refusals >= 10 && refusals <= 20, `${refusals} refusals`);
    }));

  for (const threads of [1, 2]) {
    test(`two clients reach each other by the local route, and not without a rule (${threads} threads)`, async () => {
      await using lab = await TunnelLab.start({ threads, transport: 'udp' });
      await lab.setPolicy(openPolicy());
      const a = new UdpLabClient(lab, { peerId: 0, tunnelAddress: '10.8.0.2' });
      const b = new UdpLabClient(lab, { peerId: 1, tunnelAddress: '10.8.0.3' });
      await lab.settle();
      const hello = udpPacket([a.tunnelAddress, 7000], [b.tunnelAddress, 7001], new Uint8Array([1, 2, 3]));
      a.send(hello);
      assert.deepEqual(await b.receive((packet) => packet[9] === 17), hello);
      b.send(udpPacket([b.tunnelAddress, 7001], [a.tunnelAddress, 7000], new Uint8Array([4])));
      assert.equal((await a.receive((packet) => packet[9] === 17)).at(-1), 4);
      await lab.setPolicy({ ...openPolicy(), rules: openPolicy().rules.slice(0, 1) });
      a.send(hello);
      await a.receive(isRefusal);
      a.close();
      b.close();
    });
  }

  test('sending moves to a new key with its first packet, and says so', () =>
    withClient({}, async (lab, client) => {
      client.newKey(1, 'secondary');
      await lab.settle();
      client.send(echoRequest(client.tunnelAddress, TARGET, 1));
      await client.receive((packet) => isEchoReply(packet, 1));
      assert.equal(lab.notifications.length, 0);
      client.useKey(1);
      client.send(echoRequest(client.tunnelAddress, TARGET, 2));
      assert.equal((await lab.notified('keySwitched')).keyId, 1);
      await client.receive((packet) => isEchoReply(packet, 2));
      lab.host.deleteKey(0, 0);
      await lab.settle();
      client.useKey(0);
      client.send(echoRequest(client.tunnelAddress, TARGET, 3));
      await waitFor('the old key to be unknown', () => lab.host.counters().drops.UnknownKey === 1);
    }));

  test('[P12] a packet from another port is delivered, reported, and answered there once the control thread agrees', () =>
    withClient({}, async (lab, client) => {
      client.move();
      client.send(echoRequest(client.tunnelAddress, TARGET, 1));
      const float = await lab.notified('floated');
      assert.equal(lab.addon.formatAddress(float.remote).port, client.localPort);
      lab.host.setRemote(0, float.remote);
      await lab.settle();
      client.send(echoRequest(client.tunnelAddress, TARGET, 2));
      await client.receive((packet) => isEchoReply(packet, 2));
      assert.ok(!client.received.some((packet) => isEchoReply(packet, 1)), 'the first answer went to the old port');
    }));

  test('[P14] [P15] [P67] replayed and corrupt packets from another port move nobody', () =>
    withClient({}, async (lab, client) => {
      const [replayed, corrupt] = client.seal([
        echoRequest(client.tunnelAddress, TARGET, 1),
        echoRequest(client.tunnelAddress, TARGET, 2),
      ]);
      client.sendWire(replayed);
      await client.receive((packet) => isEchoReply(packet, 1));
      client.move();
      corrupt[corrupt.length - 1] ^= 1;
      client.sendWire(replayed, corrupt);
      await waitFor('both drops', () => {
        const { drops } = lab.host.counters();
        return drops.Replayed === 1 && drops.BadTag === 1;
      });
      await lab.settle();
      assert.equal(lab.notifications.length, 0);
    }));

  test('[P9] [P10] DATA_V1 and the absent peer id are matched by address through the control thread', () =>
    withClient({ threads: 2, peerId: 1 }, async (lab, client) => {
      const v1 = client.seal([echoRequest(client.tunnelAddress, TARGET, 1)], 6);
      lab.host.deliverData(v1[0], client.remote());
      await client.receive((packet) => isEchoReply(packet, 1));
      const noId = client.seal([echoRequest(client.tunnelAddress, TARGET, 2)], 9, 0xffffff);
      client.sendWire(noId[0]);
      await client.receive((packet) => isEchoReply(packet, 2));
      assert.equal(lab.host.counters().strays, 1);
    }));

  test('pings are sent when nothing else is, and a silent peer is reported', () =>
    withClient({ record: { pingMs: 60, pingTimeoutMs: 400 } }, async (lab, client) => {
      const ping = [0x2a, 0x18, 0x7b, 0xf3];
      await client.receive((packet) => packet.length === 16 && ping.every((byte, i) => packet[i] === byte));
      assert.equal((await lab.notified('keepaliveLost')).generation, 1000);
    }));

  test('[P68] [P69] an exit notice is reported; pings and other OCC messages are not answered', () =>
    withClient({}, async (lab, client) => {
      const magic = Buffer.from('287f346bd4ef7a812d56b8d3afc5459c', 'hex');
      client.send(Buffer.from('2a187bf3641eb4cb07ed2d0a981fc748', 'hex'), Buffer.concat([magic, Buffer.from([0])]));
      client.send(Buffer.concat([magic, Buffer.from([6])]));
      await lab.notified('exitNotified');
      client.drain();
      assert.equal(client.received.length, 0);
    }));

  test('comp-lzo framing carries packets both ways; compressed payloads are dropped', () =>
    withClient({ record: { framing: 'comp-lzo' } }, async (lab, client) => {
      client.send(echoRequest(client.tunnelAddress, TARGET, 1));
      await client.receive((packet) => isEchoReply(packet, 1));
      assert.equal(lab.host.counters().drops.Compressed, 0);
    }));

  test('the control thread blocked for two seconds costs no packet', () =>
    withClient({}, async (lab, client) => {
      const poll = lab.addon.pollCreate();
      const end = performance.now() + 2_000;
      let sent = 0;
      // Nothing here gives the event loop a turn: only the tunnel thread can answer.
      while (performance.now() < end || client.received.length < 1_000) {
        assert.ok(performance.now() < end + 10_000, `${client.received.length} of ${sent} were answered`);
        if (sent < 1_000) client.send(echoRequest(client.tunnelAddress, TARGET, sent++));
        lab.addon.pollWait(poll, 1, new Int32Array(1), new Uint8Array(1));
        client.drain();
      }
      lab.addon.close(poll);
      assert.equal(sent, 1_000);
      assert.equal(client.received.length, sent);
    }));

  test('a thousand queued datagrams take at most forty receive calls', () =>
    withClient({}, async (lab, client) => {
      const packets = Array.from({ length: 1_000 }, (_, i) => echoRequest(client.tunnelAddress, TARGET, i));
      const sealed = client.seal(packets);
      const before = lab.host.counters().native;
      // The thread is kept busy with one large message while the socket fills.
      const groups = new Int32Array(4_000_000);
      lab.host.setGroups(0, groups);
      await Promise.resolve();
      client.sendWire(...sealed);
      await waitFor('all to be answered', () => {
        client.drain();
        return client.received.length === 1_000;
      });
      const settled = await waitFor('the counters to be published', () => {
        const { native } = lab.host.counters();
        return native['receivedDatagrams'] - before['receivedDatagrams'] === 1_000 ? native : undefined;
      });
      const calls = settled['receiveCalls'] - before['receiveCalls'];
      assert.ok(calls <= 40, `${calls} receive calls`);
      const seals = settled['sealCalls'] - before['sealCalls'];
      assert.ok(seals <= 60, `${seals} seal calls`);
    }));

  test('[P8] an ended peer is unknown, keeps its counters, and its successor starts from nothing', () =>
    withClient({}, async (lab, client) => {
      client.send(echoRequest(client.tunnelAddress, TARGET, 1));
      await client.receive((packet) => isEchoReply(packet, 1));
      lab.host.deletePeer(0);
      await lab.settle();
      client.send(echoRequest(client.tunnelAddress, TARGET, 2));
      await waitFor('the packet to find nobody', () => lab.host.counters().drops.UnknownPeer === 1);
      assert.equal(lab.host.traffic(0)?.ingressPackets, 1);
      const successor = new UdpLabClient(lab, { peerId: 0, tunnelAddress: '10.8.0.9' });
      assert.equal(lab.host.traffic(0)?.ingressPackets, 0);
      await lab.settle();
      successor.send(echoRequest(successor.tunnelAddress, TARGET, 3));
      await successor.receive((packet) => isEchoReply(packet, 3));
      assert.equal(lab.host.traffic(0)?.ingressPackets, 1);
      assert.equal(lab.host.counters().traffic.ingressPackets, 2);
      successor.close();
    }));
});
