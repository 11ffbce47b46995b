// A form from a JSON Schema: objects, arrays, maps, enumerations, with descriptions, defaults, limits, and the server's findings at their JSON pointers.
// What is left empty is left out: the defaults are the API's.
import { useEffect, useRef, useState } from "preact/hooks";
import { resolve, type Schema } from "./api";
import type { Finding, Json, JsonObject } from "./types";

export interface FieldProps {
  schema: Schema;
  name: string;
  pointer: string;
  value: Json | undefined;
  onChange: (value: Json | undefined) => void;
  findings: Finding[];
  required?: boolean;
  open?: boolean;
}

const isObject = (v: unknown): v is JsonObject => typeof v === "object" && v !== null && !Array.isArray(v);
const idOf = (pointer: string) => `f${pointer.replaceAll("/", "-").replaceAll("~", "_")}`;
const typeOf = (s: Schema) => (Array.isArray(s.type) ? s.type.find((t) => t !== "null") : s.type);

/** under tells whether a finding belongs to a member or to something in it. */
const under = (f: Finding, pointer: string) => f.pointer === pointer || Boolean(f.pointer?.startsWith(`${pointer}/`));

/** with sets a member, or takes it out. */
function withMember(value: Json | undefined, member: string, v: Json | undefined): JsonObject | undefined {
  const next: JsonObject = { ...(isObject(value) ? value : {}) };
  if (v === undefined) delete next[member];
  else next[member] = v;

  return next;
}

function Notes({ id, schema, own }: { id: string; schema: Schema; own: Finding[] }) {
  return (
    <>
      {schema.description && (
        <p class="help" id={`${id}-help`}>
          {schema.description}
        </p>
      )}
      {own.length > 0 && (
        <div class="wrong" id={`${id}-wrong`}>
          {own.map((f) => (
            <p key={f.code + f.message}>
              {f.message} {f.remedy}
            </p>
          ))}
        </div>
      )}
    </>
  );
}

export function Field(p: FieldProps) {
  const schema = resolve(p.schema);

  switch (typeOf(schema)) {
    case "object":
      return schema.properties ? <Group {...p} schema={schema} /> : <Pairs {...p} schema={schema} />;
    case "array":
      return typeOf(resolve(schema.items ?? {})) === "object" ? <Items {...p} schema={schema} /> : <Texts {...p} schema={schema} />;
    default:
      return <Single {...p} schema={schema} />;
  }
}

/** Single is one value. */
function Single({ schema, name, pointer, value, onChange, findings, required }: FieldProps) {
  const id = idOf(pointer);
  const own = findings.filter((f) => f.pointer === pointer);
  const about = {
    id,
    name: pointer,
    required,
    "aria-invalid": own.length > 0 ? ("true" as const) : undefined,
    "aria-describedby": [schema.description && `${id}-help`, own.length > 0 && `${id}-wrong`].filter(Boolean).join(" ") || undefined,
  };
  const standard = schema.default === undefined ? "" : String(schema.default);
  const type = typeOf(schema);

  if (type === "boolean") {
    return (
      <div class="field check">
        <input type="checkbox" {...about} checked={value === undefined ? schema.default === true : value === true} onChange={(e) => onChange(e.currentTarget.checked)} />
        <label for={id}>{name}</label>
        <Notes id={id} schema={schema} own={own} />
      </div>
    );
  }

  const number = type === "integer" || type === "number";

  return (
    <div class="field">
      <label for={id}>
        {name}
        {required && <span class="fine"> (required)</span>}
      </label>
      {schema.enum ? (
        <select {...about} value={value === undefined ? "" : String(value)} onChange={(e) => onChange(e.currentTarget.value === "" ? undefined : e.currentTarget.value)}>
          <option value="">{standard ? `${standard} (default)` : "not set"}</option>
          {schema.enum.map((v) => (
            <option key={v} value={v}>
              {v}
            </option>
          ))}
        </select>
      ) : (
        <input
          {...about}
          type={number ? "number" : "text"}
          min={schema.minimum}
          max={schema.maximum}
          maxLength={schema.maxLength}
          placeholder={standard}
          autocomplete="off"
          spellcheck={false}
          value={value === undefined || value === null ? "" : String(value)}
          onInput={(e) => {
            const text = e.currentTarget.value;
            // What is no number goes as text: the API says what is wrong with it.
            onChange(text === "" ? undefined : number && !Number.isNaN(Number(text)) ? Number(text) : text);
          }}
        />
      )}
      <Notes id={id} schema={schema} own={own} />
    </div>
  );
}

/** Texts is a list of short texts in one line, by commas. */
function Texts({ schema, name, pointer, value, onChange, findings }: FieldProps) {
  const id = idOf(pointer);
  const own = findings.filter((f) => under(f, pointer));
  const list = Array.isArray(value) ? value.map(String) : [];
  const [text, setText] = useState(list.join(", "));
  const split = (t: string) => t.split(",").map((s) => s.trim()).filter(Boolean);

  useEffect(() => {
    if (split(text).join() !== list.join()) setText(list.join(", "));
  }, [list.join()]);

  return (
    <div class="field">
      <label for={id}>
        {name} <span class="fine">(separated by commas)</span>
      </label>
      <input
        id={id}
        name={pointer}
        type="text"
        autocomplete="off"
        spellcheck={false}
        aria-invalid={own.length > 0 ? "true" : undefined}
        aria-describedby={[schema.description && `${id}-help`, own.length > 0 && `${id}-wrong`].filter(Boolean).join(" ") || undefined}
        value={text}
        onInput={(e) => {
          setText(e.currentTarget.value);
          const items = split(e.currentTarget.value);
          onChange(items.length > 0 ? items : undefined);
        }}
      />
      <Notes id={id} schema={schema} own={own} />
    </div>
  );
}

/** Members are an object's, required ones first. */
export function Members({ schema, pointer, value, onChange, findings, leaveOut = [] }: Omit<FieldProps, "name"> & { leaveOut?: string[] }) {
  const members = Object.entries(schema.properties ?? {}).filter(([m]) => !leaveOut.includes(m));
  const rank = ([m, s]: [string, Schema]) => (schema.required?.includes(m) ? 0 : ["object", "array"].includes(typeOf(resolve(s)) ?? "") ? 2 : 1);

  return (
    <>
      {members
        .sort((a, b) => rank(a) - rank(b))
        .map(([m, s]) => (
          <Field
            key={m}
            schema={s}
            name={m}
            pointer={`${pointer}/${m}`}
            value={isObject(value) ? value[m] : undefined}
            onChange={(v) => onChange(withMember(value, m, v))}
            findings={findings}
            required={schema.required?.includes(m)}
          />
        ))}
    </>
  );
}

/** Group is an object: always there if all its members may be left out, else only when switched on. */
function Group(p: FieldProps) {
  const { schema, name, pointer, value, onChange, findings, required } = p;
  const id = idOf(pointer);
  const own = findings.filter((f) => f.pointer === pointer);
  const optional = !required && (schema.required?.length ?? 0) > 0;

  if (optional) {
    return (
      <fieldset class="field">
        <legend>
          <input type="checkbox" id={id} checked={value !== undefined} onChange={(e) => onChange(e.currentTarget.checked ? {} : undefined)} />
          <label for={id}>{name}</label>
        </legend>
        <Notes id={id} schema={schema} own={own} />
        {value !== undefined && <Members {...p} />}
      </fieldset>
    );
  }

  return <Section {...p} own={own} />;
}

/** Section can be folded; it opens by itself when something in it is wrong. */
function Section(p: FieldProps & { own: Finding[] }) {
  const { schema, name, pointer, value, onChange, findings, own } = p;
  const ref = useRef<HTMLDetailsElement>(null);
  const wrong = findings.some((f) => under(f, pointer) && f.level !== "info");
  const changed = isObject(value) ? Object.keys(value).length : 0;

  useEffect(() => {
    if (wrong && ref.current) ref.current.open = true;
  }, [wrong]);

  return (
    <details ref={ref} class="section" open={p.open}>
      <summary>
        <span class="name">{name}</span>
        {schema.description && <span class="help">{schema.description}</span>}
        <span class="fine">{wrong ? "something is wrong here" : changed > 0 ? `${changed} set` : "all defaults"}</span>
      </summary>
      <div class="inside">
        <Notes id={idOf(pointer)} schema={{}} own={own} />
        <Members
          {...p}
          onChange={(v) => onChange(isObject(v) && Object.keys(v).length === 0 ? undefined : v)}
        />
      </div>
    </details>
  );
}

/** Items is a list of objects. */
function Items({ schema, name, pointer, value, onChange, findings }: FieldProps) {
  const list = Array.isArray(value) ? value : [];
  const item = resolve(schema.items ?? {});
  const own = findings.filter((f) => f.pointer === pointer);
  const one = name.replace(/s$/, "");
  const set = (next: Json[]) => onChange(next.length > 0 ? next : undefined);

  return (
    <fieldset class="field list">
      <legend>{name}</legend>
      <Notes id={idOf(pointer)} schema={schema} own={own} />
      {list.length === 0 && <p class="fine">None given: the default is used.</p>}
      {list.map((v, i) => (
        <fieldset key={i} class="item">
          <legend>{isObject(v) && v.name ? `${one} ${v.name}` : `${one} ${i + 1}`}</legend>
          <Members schema={item} pointer={`${pointer}/${i}`} value={v} onChange={(next) => set(list.map((o, j) => (j === i ? (next ?? {}) : o)))} findings={findings} />
          <button type="button" class="small" onClick={() => set(list.filter((_, j) => j !== i))}>
            Remove {one} {i + 1}
          </button>
        </fieldset>
      ))}
      {(schema.maxItems === undefined || list.length < schema.maxItems) && (
        <button type="button" class="small" onClick={() => set([...list, {}])}>
          Add {one}
        </button>
      )}
    </fieldset>
  );
}

/** Pairs is a map of texts. */
function Pairs({ schema, name, pointer, value, onChange, findings }: FieldProps) {
  const start = Object.entries(isObject(value) ? value : {}).map(([k, v]) => [k, String(v)] as [string, string]);
  const [rows, setRows] = useState(start);
  const own = findings.filter((f) => under(f, pointer));
  const id = idOf(pointer);
  const given = JSON.stringify(start);

  useEffect(() => {
    if (given !== JSON.stringify(rows.filter(([k]) => k !== ""))) setRows(start);
  }, [given]);

  const set = (next: [string, string][]) => {
    setRows(next);
    const full = next.filter(([k]) => k !== "");
    onChange(full.length > 0 ? Object.fromEntries(full) : undefined);
  };

  return (
    <details class="section">
      <summary>
        <span class="name">{name}</span>
        {schema.description && <span class="help">{schema.description}</span>}
        <span class="fine">{own.length > 0 ? "something is wrong here" : start.length > 0 ? `${start.length} set` : "none"}</span>
      </summary>
      <div class="inside pairs">
        <Notes id={id} schema={{}} own={own} />
        {rows.map(([k, v], i) => (
          <div key={i} class="pair">
            <input type="text" aria-label={`${name}, key ${i + 1}`} placeholder="key" value={k} autocomplete="off" onInput={(e) => set(rows.map((r, j) => (j === i ? [e.currentTarget.value, r[1]] : r)))} />
            <input type="text" aria-label={`${name}, value ${i + 1}`} placeholder="value" value={v} autocomplete="off" onInput={(e) => set(rows.map((r, j) => (j === i ? [r[0], e.currentTarget.value] : r)))} />
            <button type="button" class="small" aria-label={`Remove ${name} ${k || i + 1}`} onClick={() => set(rows.filter((_, j) => j !== i))}>
              Remove
            </button>
          </div>
        ))}
        <button type="button" class="small" onClick={() => setRows([...rows, ["", ""]])}>
          Add to {name}
        </button>
      </div>
    </details>
  );
}
