import { skew } from "./api";

export const now = () => Date.now() + skew;

/** span writes a duration for people. */
export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;

  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
}

export const between = (start?: string, end?: string): string => (start ? span((end ? Date.parse(end) : now()) - Date.parse(start)) : "");

const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const moment = (time?: string): string => (time ? moments.format(new Date(time)) : "");

/** money writes an amount; what the price list does not say is not 0. Small prices keep the digits that they have. */
export function money(amount: number | null | undefined, currency = "USD"): string {
  if (amount === null || amount === undefined) return "not priced";

  return new Intl.NumberFormat(undefined, { style: "currency", currency, maximumFractionDigits: amount !== 0 && amount < 1 ? 7 : 2 }).format(amount);
}

/** words makes a state or phase readable: NEEDS_ATTENTION is needs attention. */
export const words = (s: string): string => s.toLowerCase().replaceAll("_", " ");

/** estimate reads how long something usually takes: seconds, or Go's notation like 1m30s. */
export function estimate(e: string | number | undefined): string {
  if (typeof e === "number") return span(e * 1000);

  const parts = /^(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?$/.exec(e ?? "");
  if (!e || !parts) return e ?? "";

  return span((Number(parts[1] ?? 0) * 3600 + Number(parts[2] ?? 0) * 60 + Number(parts[3] ?? 0)) * 1000);
}
