import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Attack, AttackFindings, AttackPlan } from './attack-plan.ts';
import { GATEWAY_ADDRESS, LabError, type Lab, type Namespace } from './netns.ts';

/** /24s that reach the lab's gateway from its attackers: their answers come back to the attacker. */
export const FOREIGN_NETWORKS = '100.64.0.0/16';

/** Lets a client's namespace use every address of FOREIGN_NETWORKS. */
export function giveForeignAddresses(lab: Lab, index: number): void {
  lab.client(index).ip(`route add local ${FOREIGN_NETWORKS} dev lo`);
  lab.wan.ip(`route add ${FOREIGN_NETWORKS} via 10.99.0.${11 + index}`);
  lab.gateway.ip(`route add ${FOREIGN_NETWORKS} via 10.98.0.254`);
}

/** One address in each of so many /24s. */
export function foreignAddresses(networks: number): readonly string[] {
  return Array.from({ length: networks }, (_, index) => `100.64.${index}.7`);
}

/** Attacks the lab's gateway from a namespace. @returns what the attacker saw, when it is done. */
export async function attackGateway(
  from: Namespace,
  plan: Attack & { readonly seconds: number },
): Promise<AttackFindings> {
  const whole: AttackPlan = { host: GATEWAY_ADDRESS, port: 1194, ...plan };
  const child = from.spawn(process.execPath, [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
  if (child.stdin === null || child.stdout === null) throw new LabError('The attacker has no streams');
  child.stdin.end(JSON.stringify(whole));
  const line = await text(child.stdout);
  if (line === '') throw new LabError(`The attacker (${plan.kind}) said nothing`);
  return JSON.parse(line) as AttackFindings;
}

const PROGRAM = fileURLToPath(new URL('attacker-main.ts', import.meta.url));
