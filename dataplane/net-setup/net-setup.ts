import { networkInterfaces } from 'node:os';
import { TerminalError } from '../../net/errors.ts';
import { formatIpv4 } from '../../net/ipv4.ts';
import {
  formatIpv4Prefix,
  ipv4Mask,
  prefixContains,
  prefixContainsAddress,
  type Ipv4Prefix,
} from '../../net/ipv4-prefix.ts';
import { interfaceExists, isOurConcern, viewForwarding } from './forwarding-watch.ts';
import { gatewayNames, isGatewayTun } from './gateway-names.ts';
import { readHostIdentity, type HostIdentity } from './host-identity.ts';
import { chainsInTheWay, claimsOfOthers } from './neighbours.ts';
import { readRuleNames, runNftScript } from './nftables.ts';
import {
  leavingScript,
  removalScript,
  ruleNames,
  ruleSetScript,
  switchedSetScript,
  type RuleSetPlan,
} from './rule-set.ts';
import { withRtnetlink, type Rtnetlink } from './rtnetlink.ts';
import type { Link } from './rtnetlink-messages.ts';

/** What has to be undone, written down before it is done: enough to clean up after a killed run. */
export interface NetSetupRecord extends HostIdentity {
  readonly tun: string;
  readonly table: string;
  /** Interfaces that did not forward before. */
  readonly switched: readonly SwitchedInterface[];
}

export interface SwitchedInterface {
  readonly name: string;
  readonly index: number;
}

export interface NetSetupOptions {
  readonly stateFolderRealPath: string;
  readonly clientCidr: Ipv4Prefix;
  /** Stores the record durably; called before anything it names is touched. */
  readonly store: (record: NetSetupRecord) => void;
}

/** What `refresh` found and mended. */
export interface RefreshReport {
  readonly tun: 'intact' | 'mended' | 'gone';
  readonly switchedOn: readonly string[];
  readonly rules: 'intact' | 'reinstalled' | 'not checked';
}

/**
 * The kernel's side of one gateway: the TUN's address, forwarding, and the rule set. The TUN itself
 * belongs to whoever holds its descriptors; it goes when the last of them is closed.
 */
export class NetSetup {
  #plan: RuleSetPlan;
  readonly #host: HostIdentity;
  readonly #store: (record: NetSetupRecord) => void;
  #switched: readonly SwitchedInterface[] = [];
  #stored = '';
  #wasApplied = false;
  /** What is under way, and what waits for it: a look would take for somebody else's doing what is half done. */
  #turns: Promise<unknown> = Promise.resolve();

  private constructor(plan: RuleSetPlan, host: HostIdentity, store: (record: NetSetupRecord) => void) {
    this.#plan = plan;
    this.#host = host;
    this.#store = store;
  }

  /** Writes the record; from here on `undo` is due, whatever else happens. */
  static async begin(options: NetSetupOptions): Promise<NetSetup> {
    const plan = {
      ...gatewayNames(options.stateFolderRealPath),
      clientCidr: options.clientCidr,
      tunnelAddress: options.clientCidr.address + 1,
      limitsFlows: true,
    };
    const setup = new NetSetup(plan, await readHostIdentity(), options.store);
    setup.#write();
    return setup;
  }

  get plan(): RuleSetPlan {
    return this.#plan;
  }

  /**
   * Brings the opened TUN up with its address, installs the rules, switches forwarding on, and reads all of it back.
   *
   * @param makeTun replaces the TUN before; no look is under way meanwhile
   * @throws TerminalError what is in the way, for a person
   */
  async apply(makeTun: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    await this.#inTurn(async () => {
      await makeTun();
      await this.#apply();
    });
  }

  async #apply(): Promise<void> {
    await withRtnetlink(async (rtnetlink) => {
      const links = await rtnetlink.links();
      // What came later is no reason to stop serving.
      if (!this.#wasApplied) await this.#refuseTakenAddresses(rtnetlink, links);
      const claimed = await claimsOfOthers(this.plan.table, links.map(nameOf));
      this.#addSwitched(
        links.filter((link) => isOurConcern(link.name) && (link.forwarding === false || claimed.has(link.name))),
      );
      // The rules first: at no moment does an interface forward for others because of us.
      await this.#installRules();
      await this.#configureTun(rtnetlink, links);
      await setForwarding(rtnetlink, this.#switched, true);
      await this.#verify(rtnetlink);
    });
    this.#wasApplied = true;
  }

  /** Switches on interfaces that appeared or were switched off by others since, and the TUN back up; `rules` also looks at the table. */
  refresh(depth: 'forwarding' | 'rules'): Promise<RefreshReport> {
    return this.#inTurn(() => this.#refresh(depth));
  }

  async #refresh(depth: 'forwarding' | 'rules'): Promise<RefreshReport> {
    const view = viewForwarding(this.plan.tun);
    if (!view.tunExists) return { tun: 'gone', switchedOn: [], rules: 'not checked' };
    const tun = await this.#lookAfterTun();
    if (view.off.length > 0) await this.#switchOn(view.off);
    if (depth === 'forwarding') return { tun, switchedOn: view.off, rules: 'not checked' };
    const intact = sameList(await readRuleNames(this.plan.table), ruleNames(this.plan));
    if (!intact) await this.#installRules();
    return { tun, switchedOn: view.off, rules: intact ? 'intact' : 'reinstalled' };
  }

  isTunGone(): boolean {
    return !interfaceExists(this.plan.tun);
  }

  /** What the rules can't do on this kernel, for a person; as a rule empty. */
  get shortcomings(): readonly string[] {
    return this.#plan.limitsFlows ? [] : [UNLIMITED_FLOWS];
  }

  /** What of other tables drops our clients' packets, for a person; empty when nothing does. */
  async obstacles(): Promise<readonly string[]> {
    const { tun } = this.plan;
    return (await chainsInTheWay(tun)).map(({ family, table, name }) => {
      const chain = `${family} ${table} ${name}`;
      return (
        `the nft chain "${chain}", which is not ours, drops forwarded packets and no rule of it lets ${tun} pass: ` +
        `clients reach nothing behind this gateway. To let them: nft insert rule ${chain} iifname ${tun} accept; ` +
        `nft insert rule ${chain} oifname ${tun} accept`
      );
    });
  }

  /** Puts forwarding back and removes the rules. The caller has closed the TUN and then removes the record. */
  async undo(): Promise<void> {
    await undoRecord(this.#record());
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turns.then(work);
    this.#turns = turn.catch(() => undefined);
    return turn;
  }

  /** Where the kernel can't limit a client's flows, clients are served without that limit. */
  async #installRules(): Promise<void> {
    try {
      await runNftScript(ruleSetScript(this.#plan, this.#switchedNames()));
    } catch (error) {
      if (!(error instanceof TerminalError) || !this.#plan.limitsFlows) throw error;
      const plan = { ...this.#plan, limitsFlows: false };
      await runNftScript(ruleSetScript(plan, this.#switchedNames()));
      this.#plan = plan;
    }
  }

  async #lookAfterTun(): Promise<'intact' | 'mended'> {
    const address = formatIpv4(this.plan.tunnelAddress);
    // Cheap, and as a rule enough: what is down or has no address is not listed.
    if (networkInterfaces()[this.plan.tun]?.some((its) => its.address === address) === true) return 'intact';
    return withRtnetlink(async (rtnetlink) => {
      const links = await rtnetlink.links();
      const tun = links.find((link) => link.name === this.plan.tun);
      const hasAddress = (await rtnetlink.addresses()).some(
        (its) => its.index === tun?.index && its.address === this.plan.tunnelAddress,
      );
      if (tun?.up === true && hasAddress) return 'intact';
      await this.#configureTun(rtnetlink, links);
      return 'mended';
    });
  }

  async #switchOn(names: readonly string[]): Promise<void> {
    await withRtnetlink(async (rtnetlink) => {
      const off = (await rtnetlink.links()).filter((link) => names.includes(link.name) && link.forwarding === false);
      this.#addSwitched(off.filter((link) => link.name !== this.plan.tun));
      await runNftScript(switchedSetScript(this.plan.table, this.#switchedNames()));
      await setForwarding(rtnetlink, off, true);
    });
  }

  async #refuseTakenAddresses(rtnetlink: Rtnetlink, links: readonly Link[]): Promise<void> {
    for (const { index, address, prefixLength } of await rtnetlink.addresses()) {
      const name = links.find((link) => link.index === index)?.name ?? String(index);
      const network = { address: (address & ipv4Mask(prefixLength)) >>> 0, length: prefixLength };
      // A wider network around the client CIDR is fine: the tunnel's route is the longer one. That of another gateway
      // is not: its clients live at any address of it.
      const taken =
        prefixContains(this.plan.clientCidr, network) ||
        prefixContainsAddress(this.plan.clientCidr, address) ||
        (isGatewayTun(name) && prefixContains(network, this.plan.clientCidr));
      if (name === this.plan.tun || !taken) continue;
      const clients = formatIpv4Prefix(this.plan.clientCidr);
      throw new TerminalError(
        `The client CIDR ${clients} overlaps ${formatIpv4(address)}/${prefixLength} of interface ${name} ` +
          'on this machine. Choose another clientCIDR.',
      );
    }
  }

  async #configureTun(rtnetlink: Rtnetlink, links: readonly Link[]): Promise<void> {
    const tun = links.find((link) => link.name === this.plan.tun);
    if (tun === undefined) throw new TerminalError(`The TUN device ${this.plan.tun} is not there`);
    await rtnetlink.change(tun, { mtu: TUN_MTU_BYTES, queueLength: TUN_QUEUE_LENGTH, ipv6Addresses: 'none' });
    const { tunnelAddress: address, clientCidr } = this.plan;
    const existing = (await rtnetlink.addresses()).some((its) => its.index === tun.index && its.address === address);
    if (!existing) await rtnetlink.addAddress(tun, { index: tun.index, address, prefixLength: clientCidr.length });
    await rtnetlink.change(tun, { up: true, forwarding: true });
  }

  async #verify(rtnetlink: Rtnetlink): Promise<void> {
    const { tun: tunName, tunnelAddress, clientCidr, table } = this.plan;
    const links = await rtnetlink.links();
    const tun = links.find((link) => link.name === tunName);
    if (tun?.up !== true || tun.mtu !== TUN_MTU_BYTES || tun.queueLength !== TUN_QUEUE_LENGTH)
      throw new TerminalError(`The TUN device ${tunName} did not take its settings`);
    const isOurs = (a: { index: number; address: number; prefixLength: number }): boolean =>
      a.index === tun.index && a.address === tunnelAddress && a.prefixLength === clientCidr.length;
    if (!(await rtnetlink.addresses()).some(isOurs))
      throw new TerminalError(`The TUN device ${tunName} did not take its address`);
    const off = links.filter((link) => (isOurConcern(link.name) || link === tun) && link.forwarding === false);
    if (off.length > 0) {
      const names = off.map((link) => link.name).join(', ');
      throw new TerminalError(`IPv4 forwarding could not be switched on for ${names}`);
    }
    if (!sameList(await readRuleNames(table), ruleNames(this.plan)))
      throw new TerminalError(`The nft table inet ${table} does not read back as written`);
  }

  /** A TUN that was replaced, or an interface switched off by others, must not make us forget what is to be undone. */
  #addSwitched(links: readonly Link[]): void {
    const added = links.map(nameAndIndex);
    const kept = this.#switched.filter((link) => !added.some((other) => other.name === link.name));
    this.#switched = [...kept, ...added];
    this.#write();
  }

  #switchedNames(): readonly string[] {
    return this.#switched.map((link) => link.name);
  }

  #record(): NetSetupRecord {
    return { ...this.#host, tun: this.plan.tun, table: this.plan.table, switched: this.#switched };
  }

  /** Only news: a data plane is started again where nothing can be written, too. */
  #write(): void {
    const record = this.#record();
    const text = JSON.stringify(record);
    if (text === this.#stored) return;
    this.#store(record);
    this.#stored = text;
  }
}

/**
 * Undoes what a killed run of this state folder left, if it was on this boot and in this network namespace.
 *
 * @returns whether there was anything of this boot and namespace to undo
 */
export async function recoverNetSetup(record: NetSetupRecord, stateFolderRealPath: string): Promise<boolean> {
  const host = await readHostIdentity();
  if (record.bootId !== host.bootId || record.networkNamespace !== host.networkNamespace) return false;
  // A folder that was copied or moved has the record of another's.
  if (record.tun === gatewayNames(stateFolderRealPath).tun) await removeTun(record.tun);
  await undoRecord(record);
  return true;
}

/**
 * Removes a TUN that is still there when its descriptors are closed: whoever had one of them can make it stay, or has kept
 * it. What is no TUN is somebody else's, whatever its name.
 */
export async function removeTun(name: string): Promise<void> {
  if (!interfaceExists(name)) return;
  await withRtnetlink(async (rtnetlink) => {
    const tun = (await rtnetlink.links()).find((link) => link.name === name && link.kind === 'tun');
    if (tun !== undefined) await rtnetlink.remove(tun);
  });
}

/** Removes a gateway's table, if it is there. */
export async function removeRules(table: string): Promise<void> {
  await runNftScript(removalScript(table));
}

async function undoRecord(record: NetSetupRecord): Promise<void> {
  if (record.switched.length > 0) {
    // Of two gateways that leave at the same time, at least one sees the other's sign and switches off.
    await runNftScript(leavingScript(record.table));
    await withRtnetlink(async (rtnetlink) => {
      const links = await rtnetlink.links();
      const claimed = await claimsOfOthers(record.table, links.map(nameOf));
      const still = links.filter(
        (link) =>
          !claimed.has(link.name) &&
          record.switched.some(({ name, index }) => link.name === name && link.index === index),
      );
      await setForwarding(rtnetlink, still, false);
    });
  }
  // Last, so that nothing is forwarded for others while forwarding is still on.
  await removeRules(record.table);
}

/** An interface that vanished meanwhile is none to change; one that still is there must obey. */
async function setForwarding(
  rtnetlink: Rtnetlink,
  links: readonly SwitchedInterface[],
  forwarding: boolean,
): Promise<void> {
  for (const link of links) {
    try {
      await rtnetlink.change(link, { forwarding });
    } catch (error) {
      if ((await rtnetlink.links()).some(({ index }) => index === link.index)) throw error;
    }
  }
}

function nameAndIndex({ name, index }: Link): SwitchedInterface {
  return { name, index };
}

function nameOf({ name }: Link): string {
  return name;
}

function sameList(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a?.length === b.length && a.every((item, index) => item === b[index]);
}

const UNLIMITED_FLOWS =
  'this kernel has no nft_connlimit: one client can fill connection tracking and the ports of translation for all. ' +
  'To hold each client to its share: modprobe nft_connlimit, and restart the gateway';
const TUN_MTU_BYTES = 1500;
/** One burst of a tunnel thread's writes fits; the default of 500 drops under load. */
const TUN_QUEUE_LENGTH = 1000;
