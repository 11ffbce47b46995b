package dynamo

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

const (
	sortUsage = "USAGE"

	// eventKept is how long an event stands behind the stream, which itself forgets after a day: time enough to tell it again by hand.
	eventKept = 30 * 24 * time.Hour
)

// event adds an event. The sequence is padded to the length of the largest number, so that it sorts.
func (t *transaction) event(e deploy.Event) {
	it, err := encode(of(familyEvent, e.Key), fmt.Sprintf("%019d", e.Sequence), t.mark, 1, e)
	if err == nil {
		it["expires"] = number(e.Time.Add(eventKept).Unix())
	}

	t.put(it, unchanged(0), err)
}

// EventOf reads an event off what the table's stream shows of a new item: its attributes `pk` and `body`. Most items are no events.
func EventOf(pk, body string) (e deploy.Event, ok bool, err error) {
	if !strings.HasPrefix(pk, familyEvent+"#") {
		return e, false, nil
	}

	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return e, false, fmt.Errorf("decode an event of partition %s: %w", pk, err)
	}

	return e, true, nil
}

func usageKey(tenant string) item {
	return item{"pk": text(byTenant(tenant, "USAGE")), "sk": text(sortUsage)}
}

// move adds to a tenant's counters, under the condition that none that rises gets above its limit. A counter that is not there is 0.
func (t *transaction) move(tenant string, u store.Usage) {
	var (
		adds, conditions []string
		values           = item{}
	)

	for _, counter := range []struct {
		name      string
		by, limit int
	}{
		{"deployments", u.Deployments, u.Limit.Deployments}, {"operations", u.Operations, u.Limit.Operations}, {"vcpus", u.VCPUs, u.Limit.VCPUs},
	} {
		if counter.by == 0 {
			continue
		}

		adds = append(adds, counter.name+" :"+counter.name)
		values[":"+counter.name] = number(int64(counter.by))

		if counter.by < 0 || counter.limit <= 0 {
			continue
		}

		room := counter.limit - counter.by
		fits := counter.name + " <= :" + counter.name + "Room"

		if room >= 0 {
			fits = "(attribute_not_exists(" + counter.name + ") OR " + fits + ")"
		}

		conditions = append(conditions, fits)
		values[":"+counter.name+"Room"] = number(int64(room))
	}

	update := &types.Update{
		TableName: &t.table, Key: usageKey(tenant), UpdateExpression: aws.String("ADD " + strings.Join(adds, ", ")), ExpressionAttributeValues: values,
	}

	if len(conditions) > 0 {
		update.ConditionExpression = aws.String(strings.Join(conditions, " AND "))
		update.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	}

	t.items = append(t.items, types.TransactWriteItem{Update: update})
}

// usage reads counters.
func usage(it item) (u deploy.Usage, err error) {
	for name, counter := range map[string]*int{"deployments": &u.Deployments, "operations": &u.Operations, "vcpus": &u.VCPUs} {
		n, there := it[name].(*types.AttributeValueMemberN)
		if !there {
			continue
		}

		if *counter, err = strconv.Atoi(n.Value); err != nil {
			return u, fmt.Errorf("read the counter %s of %s: %w", name, str(it["pk"]), err)
		}
	}

	return u, nil
}

// Usage implements store.Tenants.
func (s *Store) Usage(ctx context.Context, tenant string) (deploy.Usage, error) {
	out, err := s.db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.table, ConsistentRead: aws.Bool(true), Key: usageKey(tenant)})
	if err != nil {
		return deploy.Usage{}, wrap("read what the tenant uses", err)
	}

	return usage(out.Item)
}

// queue begins the sort keys of a tenant's queued headers. In hexadecimal digits texts sort as they do themselves, and hold no '#'.
func queue(tenant string) string { return hex.EncodeToString([]byte(tenant)) + "#" }

// Queued implements store.Tenants on the sparse index.
func (s *Store) Queued(ctx context.Context, tenant string, size int) ([]deploy.Key, error) {
	in := s.waiting(queued, "BETWEEN :low AND :high", item{":low": text(queue(tenant)), ":high": text(queue(tenant) + "~")}, size)

	return s.keys(ctx, in, size)
}

// QueuedTenants implements store.Tenants with one Query for each tenant: for the first header behind all those of the one before.
func (s *Store) QueuedTenants(ctx context.Context, after string, size int) ([]string, error) {
	var tenants []string

	for len(tenants) < size {
		found, err := s.keys(ctx, s.waiting(queued, "> :after", item{":after": text(queue(after) + "~")}, 1), 1)
		if err != nil || len(found) == 0 {
			return tenants, err
		}

		after = found[0].Tenant
		tenants = append(tenants, after)
	}

	return tenants, nil
}

// Expiring implements store.Tenants on the sparse index.
func (s *Store) Expiring(ctx context.Context, before time.Time, size int) ([]deploy.Key, error) {
	return s.keys(ctx, s.due(expiring, before, size), size)
}

// due asks the sparse index for what waits for a time before the moment.
func (s *Store) due(sort string, before time.Time, size int) *dynamodb.QueryInput {
	return s.waiting(sort, "< :before", item{":before": text(moment(before))}, size)
}

// waiting asks the sparse index for a range of one sort of waiting.
func (s *Store) waiting(sort, span string, values item, size int) *dynamodb.QueryInput {
	values[":pk"] = text(sort)

	return &dynamodb.QueryInput{
		TableName: &s.table, IndexName: aws.String(indexUnfinished), KeyConditionExpression: aws.String("gsi2pk = :pk AND gsi2sk " + span),
		ExpressionAttributeValues: values, Limit: limit(size),
	}
}

// keys reads at most size headers' keys.
func (s *Store) keys(ctx context.Context, in *dynamodb.QueryInput, size int) ([]deploy.Key, error) {
	var keys []deploy.Key

	for it, err := range s.query(ctx, in) {
		if err != nil {
			return nil, err
		}

		key, err := keyOf(str(it["pk"]))
		if err != nil {
			return nil, err
		}

		if keys = append(keys, key); len(keys) == size {
			break
		}
	}

	return keys, nil
}
