/** One finding about an object, as Kubernetes' `metav1.Condition`. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** One CamelCase word for programs. */
  readonly reason: string;
  /** For people; may be empty. */
  readonly message: string;
  readonly observedGeneration?: number;
  /** RFC 3339; when `status` last changed. */
  readonly lastTransitionTime: string;
}
