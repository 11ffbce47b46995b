"""A flow that touches all of an environment: queue, job role, flow data and data tools."""

from metaflow import S3, FlowSpec, current, retry, step


class EverythingFlow(FlowSpec):
    @retry(times=1, minutes_between_retries=0)
    @step
    def start(self):
        if current.retry_count == 0:
            raise RuntimeError("broken on purpose, once")
        print("started on attempt", current.retry_count)
        self.attempt = current.retry_count
        self.words = ["alpha", "beta"]
        self.next(self.write, foreach="words")

    @step
    def write(self):
        self.word = self.input
        with S3(run=self) as s3:
            self.url = s3.put(self.word, self.word * 3)
        self.next(self.gather)

    @step
    def gather(self, inputs):
        self.merge_artifacts(inputs, include=["attempt"])
        self.urls = {i.word: i.url for i in inputs}
        with S3(run=self) as s3:
            self.texts = {o.key: o.text for o in s3.get_many(sorted(self.urls))}
            # Without s3:ListBucket S3 answers 403 here, and this raises.
            self.absent = s3.get("absent", return_missing=True).exists
        self.next(self.end)

    @step
    def end(self):
        print("gathered", sorted(self.texts))


if __name__ == "__main__":
    EverythingFlow()
