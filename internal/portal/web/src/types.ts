// The nouns of the public contract, as far as the page shows them.

export interface Problem {
  type?: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  class?: string;
  pointer?: string;
  parameter?: string;
  resource?: string;
  awsCode?: string;
  requestId?: string;
  retryable?: boolean;
  remedy: string;
  operation?: string;
  errors?: { code: string; detail: string; pointer?: string; parameter?: string; remedy: string }[];
}

export type Phase = "CREATING" | "ACTIVE" | "UPDATING" | "DELETING" | "DELETED" | "FAILED" | "NEEDS_ATTENTION";
export type Json = null | boolean | number | string | Json[] | { [member: string]: Json };
export type JsonObject = { [member: string]: Json };

export interface Deployment {
  name: string;
  tenant: string;
  phase: Phase;
  spec: JsonObject;
  labels: Record<string, string>;
  region: string;
  account: string;
  owner: string;
  createTime: string;
  updateTime: string;
  expireTime?: string;
  operation: string;
  resources: { total: number; ready: number };
  etag: string;
}

export interface Webhook {
  id: string;
  url: string;
  actor: string;
  time: string;
  /** Only in the answer that adds it. */
  secret?: string;
}

export interface Grant {
  kind: string;
  value: string;
  actor: string;
  time: string;
}

export type StepState = "PENDING" | "WAITING" | "RUNNING" | "READY" | "GONE" | "SKIPPED" | "KEPT" | "FAILED";

export interface Step {
  resource: string;
  kind: string;
  action: "ENSURE" | "REMOVE";
  state: StepState;
  waitingFor?: string;
  attempts: number;
  startTime?: string;
  endTime?: string;
  error?: Problem;
}

export interface Operation {
  id: string;
  deployment: string;
  kind: "CREATE" | "UPDATE" | "REPAIR" | "DELETE" | "VERIFY";
  state: "PENDING" | "RUNNING" | "ROLLING_BACK" | "SUCCEEDED" | "ROLLED_BACK" | "NEEDS_ATTENTION";
  done: boolean;
  version: number;
  progress: { done: number; total: number };
  steps: Step[];
  error?: Problem;
  createTime: string;
  endTime?: string;
}

export interface Resource {
  ref: string;
  kind: string;
  id: string;
  arn: string;
  origin: string;
  state: StepState;
  needs: string[];
  lastError?: Problem;
}

export interface Kind {
  name: string;
  doc: string;
  component: string;
  family: string;
  needs: string[];
}

export interface Finding {
  level?: string;
  class?: string;
  code: string;
  pointer?: string;
  message: string;
  remedy: string;
}

export interface PlannedStep {
  resource: string;
  kind?: string;
  action: "ENSURE" | "REMOVE";
  /** CREATE, UPDATE, REPLACE, NONE, REMOVE or USE. */
  change?: string;
  needs?: string[];
  estimate?: string | number;
}

export interface CostLine {
  resource?: string;
  what: string;
  monthly?: number | null;
  oneTime?: number | null;
  price?: number | null;
  unit?: string;
  note?: string;
}

export interface Plan {
  steps: PlannedStep[];
  cost?: { currency?: string; source?: string; date?: string; oneTime?: number | null; monthly?: number | null; lines?: CostLine[] };
  quotas?: { name: string; region?: string; used: number; needs: number; limit: number; adjustable?: boolean }[];
  findings?: Finding[];
  duration?: string | number;
}

export interface Drift {
  deployment: string;
  time: string;
  drifted: boolean;
  resources: {
    resource: string;
    kind: string;
    state: string;
    differences?: { property: string; want: Json; have: Json }[];
    notChecked?: string[];
  }[];
}

export interface AuditEntry {
  time: string;
  actor: string;
  action: string;
  deployment?: string;
  operation?: string;
  outcome: string;
  subject?: string;
  code?: string;
  detail?: string;
}

export interface Orphan {
  resource: string;
  kind: string;
  id: string;
  arn: string;
  /** As the tags of the thing say; there may be no such deployment. */
  tenant: string;
  deployment: string;
  firstSeen: string;
  state: "NOTED" | "REMOVING" | "REFUSED" | "HELD";
  reason: string;
}
