// The JSON of the server, as far as the UI reads it.

export type Labels = Record<string, string>;
export type Point = [number, string];
/** Rule of the boundaries (0 open left, 1 open right, 2 both open, 3 both closed), from, to, count. */
export type Bucket = [number, string, string, string];
export interface HistogramValue {
  count: string;
  sum: string;
  buckets?: Bucket[];
}

export interface VectorItem {
  metric: Labels;
  value?: Point;
  histogram?: [number, HistogramValue];
}
export interface MatrixItem {
  metric: Labels;
  values?: Point[];
  histograms?: [number, HistogramValue][];
}
export interface QueryStats {
  timings?: Record<string, number>;
  samples?: { totalQueryableSamples?: number; peakSamples?: number; samplesRead?: number };
}
export type QueryData = { stats?: QueryStats } & (
  | { resultType: 'vector'; result: VectorItem[] }
  | { resultType: 'matrix'; result: MatrixItem[] }
  | { resultType: 'scalar' | 'string'; result: Point }
);

export interface PlanNode {
  id: number;
  operator: string;
  detail: string;
  sameAs?: number;
  place?: string;
  steps?: { start: number; step: number; count: number };
  series?: number;
  samples?: number;
  bytes?: number;
  seconds?: number;
  shards?: { series: number; samples: number; pagesDecoded: number; pagesSkipped: number; bytesRead: number; slices: number; seconds: number };
  inputs?: PlanNode[];
}
export interface Explanation {
  timings: { prepare: number; queue: number; evaluate: number };
  bytesPeak: number;
  plan: PlanNode | null;
}

export interface ExemplarSeries {
  seriesLabels: Labels;
  exemplars: { labels: Labels; value: string; timestamp: number }[];
}

export type Metadata = Record<string, { type: string; help: string; unit: string }[]>;

export interface ActiveTarget {
  discoveredLabels: Labels;
  labels: Labels;
  scrapePool: string;
  scrapeUrl: string;
  globalUrl: string;
  lastError: string;
  lastScrape: string;
  lastScrapeDuration: number;
  health: 'up' | 'down' | 'unknown';
  scrapeInterval: string;
  scrapeTimeout: string;
}
export interface DroppedTarget {
  discoveredLabels: Labels;
  scrapePool: string;
}
export interface TargetsData {
  activeTargets: ActiveTarget[];
  droppedTargets: DroppedTarget[];
  droppedTargetCounts: Record<string, number>;
}

export interface Alert {
  labels: Labels;
  annotations: Labels;
  state: 'pending' | 'firing' | 'inactive';
  activeAt?: string;
  keepFiringSince?: string;
  value: string;
}
export interface Rule {
  name: string;
  query: string;
  labels?: Labels;
  health: 'ok' | 'err' | 'unknown';
  lastError?: string;
  evaluationTime: number;
  lastEvaluation: string;
  type: 'alerting' | 'recording';
  state?: 'unknown' | 'inactive' | 'pending' | 'firing';
  duration?: number;
  keepFiringFor?: number;
  annotations?: Labels;
  alerts?: Alert[];
}
export interface RuleGroup {
  name: string;
  file: string;
  rules: Rule[];
  interval: number;
  limit?: number;
  evaluationTime: number;
  lastEvaluation: string;
}
