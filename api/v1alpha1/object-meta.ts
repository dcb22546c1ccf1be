/** The part of Kubernetes' object metadata that we read. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace: string;
  /** Empty outside a cluster. */
  readonly uid?: string;
  readonly generation?: number;
  /** RFC 3339. */
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}
