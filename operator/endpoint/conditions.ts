import type { ConditionType } from '../../api/conditions.ts';
import type { Condition } from '../../api/v1alpha1/condition.ts';
import type { ObjectMeta } from '../../api/v1alpha1/object-meta.ts';

/** A condition before it knows when it began. */
export interface Judgement {
  readonly type: ConditionType;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

export function isTrue(type: ConditionType, reason: string, message = ''): Judgement {
  return { type, status: 'True', reason, message };
}

export function isFalse(type: ConditionType, reason: string, message: string): Judgement {
  return { type, status: 'False', reason, message };
}

export function isUnknown(type: ConditionType, reason: string, message: string): Judgement {
  return { type, status: 'Unknown', reason, message };
}

/** `Ready`: true when all of `needed` are; else the first that is not tells why. */
export function readyFrom(needed: readonly Judgement[]): Judgement {
  const failing = needed.find((one) => one.status === 'False') ?? needed.find((one) => one.status === 'Unknown');
  if (failing === undefined) return isTrue('Ready', 'Ready');
  return { ...failing, type: 'Ready' };
}

/** kstatus' helpers: `Stalled` when a person must act, `Reconciling` while it settles by itself. */
export function progress(ready: Judgement, needsPerson: boolean): readonly Judgement[] {
  if (ready.status === 'True') return [];
  const type = needsPerson ? 'Stalled' : 'Reconciling';
  return [isTrue(type, ready.reason, ready.message)];
}

/** Dates the judgements: a condition whose status is what it was keeps its time. */
export function conditionsFrom(
  judgements: readonly Judgement[],
  metadata: ObjectMeta,
  previous: readonly Condition[] | undefined,
  now: string,
): readonly Condition[] {
  return judgements.map((judgement) => {
    const before = previous?.find((condition) => condition.type === judgement.type);
    const lastTransitionTime = before?.status === judgement.status ? before.lastTransitionTime : now;
    const generation = metadata.generation === undefined ? {} : { observedGeneration: metadata.generation };
    return { ...judgement, ...generation, lastTransitionTime };
  });
}
