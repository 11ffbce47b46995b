// A dialog that asks for what a route wants, made from that route's own schema.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { bodyOf, resolve } from "./api";
import { Members } from "./form";
import type { Json } from "./types";
import { Act, Modal } from "./ui";

interface AskProps<T> {
  title: string;
  /** route is the POST of the API description whose body is asked for; send sends it. */
  route: string;
  send: (body: Json) => Promise<T>;
  label: string;
  children?: ComponentChildren;
  close: () => void;
  done: (answer: T) => void;
}

export function Ask<T>({ title, route, send, label, children, close, done }: AskProps<T>) {
  const [body, setBody] = useState<Json | undefined>({});

  return (
    <Modal title={title} onClose={close}>
      {children}
      <Members schema={resolve(bodyOf("post", route) ?? {})} pointer="" value={body} onChange={setBody} findings={[]} />
      <div class="buttons">
        <Act
          label={label}
          kind="main"
          run={async () => {
            const answer = await send(body ?? {});
            close();
            done(answer);
          }}
        />
        <button type="button" onClick={(e) => e.currentTarget.closest("dialog")?.close()}>
          Back
        </button>
      </div>
    </Modal>
  );
}
