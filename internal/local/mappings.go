package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/samtemplate"
)

const (
	// gather is how long a mapping waits for more of what somebody began to write.
	gather = 50 * time.Millisecond
	// lookAgain is how often a queue that hides messages is looked at.
	lookAgain = 250 * time.Millisecond
	// maxRetryWait bounds the wait between two tries of a stream's batch.
	maxRetryWait = 10 * time.Second
)

// source is what brings items to a mapping.
type source int

const (
	streams source = iota
	queues
)

// mappings plays Lambda's event source mappings for one world: it reads the table's streams and the queues, and calls the functions with what they bring.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html
type mappings struct {
	world *World
	stack *Stack
	list  []*mapping
	// invoke calls a function, ask calls moto.
	invoke func(ctx context.Context, arn string, event []byte) (payload []byte, fault string, err error)
	ask    func(scope, target string, in, out any) error

	ctx     context.Context //nolint:containedctx // it is the life of the goroutines that stop ends
	cancel  context.CancelFunc
	running sync.WaitGroup
}

type mapping struct {
	samtemplate.Mapping
	*mappings
	filters []map[string]any
	source  source
	told    chan struct{}
}

func newMappings(w *World, s *Stack) (*mappings, error) {
	m := &mappings{world: w, stack: s, invoke: s.invoke}
	m.ask = m.askMoto
	for _, declared := range w.Resources.Mappings {
		one := &mapping{Mapping: declared, mappings: m, source: queues, told: make(chan struct{}, 1)}
		if declared.Table != "" {
			one.source = streams
		}
		for _, text := range declared.Filters {
			var pattern map[string]any
			err := json.Unmarshal(text, &pattern)
			if err == nil {
				err = checkPattern(pattern)
			}
			if err != nil {
				return nil, fmt.Errorf("read a filter of %s: %w", declared.LogicalID, err)
			}
			one.filters = append(one.filters, pattern)
		}
		m.list = append(m.list, one)
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

func (m *mappings) start() {
	for _, one := range m.list {
		run := one.readQueue
		if one.source == streams {
			run = one.readStream
		}
		m.running.Go(run)
	}
}

func (m *mappings) stop() {
	m.cancel()
	m.running.Wait()
}

// tell says that there may be something new.
func (m *mappings) tell(what source) {
	for _, one := range m.list {
		if one.source != what {
			continue
		}
		select {
		case one.told <- struct{}{}:
		default: // it is told already
		}
	}
}

// pause waits for d, or until the world ends, which it tells.
func (m *mappings) pause(d time.Duration) bool {
	select {
	case <-m.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// failed notes an error that nobody else is told of.
func (m *mapping) failed(doing string, err error) {
	if m.ctx.Err() == nil {
		m.stack.opts.Logger.Error("event source mapping", "mapping", m.LogicalID, "doing", doing, "error", err)
	}
}

// record is one item of a stream, as moto sends it and Lambda gets it.
type record = map[string]any

func (m *mapping) readStream() {
	var at struct{ ShardIterator string }
	for at.ShardIterator == "" {
		if err := m.begin(&at); err != nil {
			m.failed("open the stream", err)
			if !m.pause(time.Second) {
				return
			}
		}
	}
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.told:
		}
		if !m.pause(gather) {
			return
		}
		for m.ctx.Err() == nil {
			var page struct {
				Records           []record
				NextShardIterator string
			}
			err := m.stack.proxy.Undisturbed(func() error {
				return m.ask("dynamodb", "DynamoDBStreams_20120810.GetRecords", map[string]any{"ShardIterator": at.ShardIterator, "Limit": m.BatchSize}, &page)
			})
			if err != nil {
				m.failed("read the stream", err)
				m.pause(time.Second)
				continue
			}
			if len(page.Records) == 0 {
				break
			}
			at.ShardIterator = page.NextShardIterator
			m.bring(slices.DeleteFunc(page.Records, func(r record) bool { return !m.fits(r) }))
		}
	}
}

func (m *mapping) begin(at any) error {
	var table struct {
		Table struct{ LatestStreamArn string }
	}
	if err := m.ask("dynamodb", "DynamoDB_20120810.DescribeTable", map[string]any{"TableName": m.Table}, &table); err != nil {
		return err
	}
	m.Source = table.Table.LatestStreamArn
	var stream struct {
		StreamDescription struct{ Shards []struct{ ShardId string } } //nolint:revive,staticcheck // the API's spelling
	}
	if err := m.ask("dynamodb", "DynamoDBStreams_20120810.DescribeStream", map[string]any{"StreamArn": m.Source}, &stream); err != nil {
		return err
	}
	if len(stream.StreamDescription.Shards) != 1 {
		return fmt.Errorf("the stream has %d shards; one is played here", len(stream.StreamDescription.Shards))
	}
	return m.ask("dynamodb", "DynamoDBStreams_20120810.GetShardIterator", map[string]any{
		"StreamArn": m.Source, "ShardId": stream.StreamDescription.Shards[0].ShardId, "ShardIteratorType": "TRIM_HORIZON",
	}, at)
}

// fits says whether a record passes the filters.
func (m *mapping) fits(r record) bool {
	return len(m.filters) == 0 || slices.ContainsFunc(m.filters, func(f map[string]any) bool { return matches(f, r) })
}

func sequence(r record) string {
	change, _ := r["dynamodb"].(map[string]any)
	number, _ := change["SequenceNumber"].(string)
	return number
}

// age is how long ago a record was written; the time is in seconds.
func age(r record) time.Duration {
	change, _ := r["dynamodb"].(map[string]any)
	at, _ := change["ApproximateCreationDateTime"].(float64)
	return time.Since(time.Unix(0, int64(at*float64(time.Second))))
}

// bring calls the function with a stream's records until all are through. What failed is tried again, from the first that failed on, before anything else
// of the shard; a batch that failed whole is halved. After the last try the batch goes to the destination.
func (m *mapping) bring(records []record) {
	for _, r := range records {
		r["eventSourceARN"], r["eventSource"], r["awsRegion"] = m.Source, "aws:dynamodb", Region
	}
	size, tries := len(records), 0
	for len(records) > 0 && m.ctx.Err() == nil {
		batch := records[:min(size, len(records))]
		done, err := m.through(batch)
		if err != nil {
			m.failed("call the function", err)
		}
		records = records[done:]
		switch {
		case done == len(batch):
			size, tries = max(1, len(records)), 0
			continue
		case done > 0:
			size, tries = len(batch)-done, 0
		case m.Bisect && err != nil && len(batch) > 1:
			size = len(batch) / 2 // no try: Lambda API reference, BisectBatchOnFunctionError
			continue
		}
		if tries++; m.Retries >= 0 && tries > m.Retries || m.MaxAge > 0 && age(batch[done]) > m.MaxAge {
			m.giveUp(batch[done:], tries)
			records, tries = records[len(batch)-done:], 0
			size = max(1, len(records))
			continue
		}
		m.pause(min(time.Duration(tries)*time.Second, maxRetryWait))
	}
}

// through calls the function with a batch and answers how many of it, from the first on, are through.
func (m *mapping) through(batch []record) (int, error) {
	failures, err := m.call(batch)
	if err != nil {
		return 0, err
	}
	for i, r := range batch {
		if slices.Contains(failures, sequence(r)) {
			return i, nil
		}
	}
	return len(batch), nil
}

// call calls the function with records and answers the items that it says failed.
func (m *mapping) call(records []record) ([]string, error) {
	event, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		return nil, err
	}
	answer, fault, err := m.invoke(m.ctx, m.Function, event)
	if err != nil {
		return nil, err
	}
	if fault != "" {
		return nil, fmt.Errorf("%s: %s", fault, answer)
	}
	if !m.Partial {
		return nil, nil
	}
	var out struct {
		BatchItemFailures []struct {
			ItemIdentifier string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return nil, fmt.Errorf("the function's answer says not what failed: %w", err)
	}
	var ids []string
	for _, f := range out.BatchItemFailures {
		ids = append(ids, f.ItemIdentifier)
	}
	return ids, nil
}

// giveUp tells the destination where in the stream the failed ones stand.
// https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
func (m *mapping) giveUp(batch []record, tries int) {
	if m.OnFailure == "" {
		return
	}
	body, err := json.Marshal(map[string]any{
		"requestContext": map[string]any{"functionArn": m.Function, "condition": "RetryAttemptsExhausted", "approximateInvokeCount": tries},
		"version":        "1.0", "timestamp": time.Now().UTC().Format(time.RFC3339),
		"DDBStreamBatchInfo": map[string]any{
			"startSequenceNumber": sequence(batch[0]), "endSequenceNumber": sequence(batch[len(batch)-1]), "batchSize": len(batch), "streamArn": m.Source,
		},
	})
	if err == nil {
		err = m.ask("sqs", "AmazonSQS.SendMessage", map[string]any{"QueueUrl": m.queueURL(m.OnFailure), "MessageBody": string(body)}, nil)
	}
	if err != nil {
		m.failed("tell the destination", err)
	}
}

func (m *mapping) queueURL(arn string) string {
	for _, q := range m.world.Resources.Queues {
		if q.ARN == arn {
			return q.URL
		}
	}
	return ""
}

// message is one of a queue.
type message struct {
	MessageID     string `json:"MessageId"`
	ReceiptHandle string
	Body          string
	MD5OfBody     string
	Attributes    map[string]string
}

func (m *mapping) readQueue() {
	url := m.queueURL(m.Source)
	limit := m.Concurrency
	if limit == 0 {
		limit = 10
	}
	slots := make(chan struct{}, limit)
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		select { // a slot first: what is received must be worked on before it shows again
		case <-m.ctx.Done():
			return
		case slots <- struct{}{}:
		}
		var page struct{ Messages []message }
		err := m.ask("sqs", "AmazonSQS.ReceiveMessage", map[string]any{
			"QueueUrl": url, "MaxNumberOfMessages": min(m.BatchSize, 10), "MessageSystemAttributeNames": []string{"All"}, "AttributeNames": []string{"All"},
		}, &page)
		if err != nil {
			m.failed("receive", err)
		}
		if len(page.Messages) > 0 {
			calls.Go(func() {
				defer func() { <-slots }()
				m.work(url, page.Messages)
				m.tell(queues) // what was behind them in their group
			})
			continue
		}
		<-slots
		// Nobody tells when a hidden message shows again.
		again := make(<-chan time.Time)
		if err != nil || m.holds(url) {
			again = time.After(lookAgain)
		}
		select {
		case <-m.ctx.Done():
			return
		case <-m.told:
		case <-again:
		}
	}
}

// holds says whether there is anything in a queue.
func (m *mapping) holds(url string) bool {
	var out struct{ Attributes map[string]string }
	if err := m.ask("sqs", "AmazonSQS.GetQueueAttributes", map[string]any{"QueueUrl": url, "AttributeNames": []string{"All"}}, &out); err != nil {
		m.failed("look at the queue", err)
		return true
	}
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
		if n := out.Attributes[name]; n != "" && n != "0" {
			return true
		}
	}
	return false
}

// work calls the function with messages and deletes those that are through.
func (m *mapping) work(url string, messages []message) {
	var records []record
	for _, x := range messages {
		records = append(records, record{
			"messageId": x.MessageID, "receiptHandle": x.ReceiptHandle, "body": x.Body, "md5OfBody": x.MD5OfBody, "attributes": x.Attributes,
			"messageAttributes": map[string]any{}, "eventSource": "aws:sqs", "eventSourceARN": m.Source, "awsRegion": Region,
		})
	}
	failures, err := m.call(records)
	if err != nil {
		m.failed("call the function", err)
		return
	}
	for _, x := range messages {
		if slices.Contains(failures, x.MessageID) {
			continue
		}
		if err := m.ask("sqs", "AmazonSQS.DeleteMessage", map[string]any{"QueueUrl": url, "ReceiptHandle": x.ReceiptHandle}, nil); err != nil {
			m.failed("delete a message", err)
		}
	}
}

// askMoto calls moto itself by one of the JSON protocols, whose words are those of Lambda's events, too.
func (m *mappings) askMoto(scope, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(m.ctx, http.MethodPost, m.stack.Moto, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("X-Moto-Account-Id", m.world.Account)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+m.world.AccessKey()+"/20260101/"+Region+"/"+scope+"/aws4_request, SignedHeaders=host, Signature=0")
	res, err := m.stack.aws.client().Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return errors.New(target + ": " + res.Status + ": " + strings.TrimSpace(string(text)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}
