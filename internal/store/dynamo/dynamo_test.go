package dynamo_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/storetest"
	"github.com/metaflow-deployer/metaflow-deployer/tests/dynamotest"
)

// TestSuite runs against our own fake of DynamoDB, which cuts every Query into pages of three items.
func TestSuite(t *testing.T) {
	storetest.Suite(t, func(_ *testing.T, now func() time.Time) store.Store {
		f := newFake()
		s := listening{dynamo.New(f, "table"), f, "table"}
		s.Now = now

		return s
	})
}

// listening shows the events that stand in the table. The product reads them off its stream.
type listening struct {
	*dynamo.Store

	db interface {
		Query(ctx context.Context, in *dynamodb.QueryInput, opts ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	}
	table string
}

func (l listening) Events(ctx context.Context, key deploy.Key) ([]deploy.Event, error) {
	in := &dynamodb.QueryInput{
		TableName: &l.table, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("pk = :pk"),
		ExpressionAttributeValues: item{":pk": &types.AttributeValueMemberS{Value: "E#" + url.PathEscape(key.Tenant) + "#" + key.Name}},
	}

	var list []deploy.Event

	for {
		out, err := l.db.Query(ctx, in)
		if err != nil {
			return nil, err
		}

		for _, it := range out.Items {
			e, ok, err := dynamo.EventOf(value(it["pk"]), value(it["body"]))
			if err != nil || !ok {
				return nil, fmt.Errorf("item %v is no event: %w", it, err)
			}

			// DynamoDB forgets it after 30 days.
			if want := strconv.FormatInt(e.Time.Add(30*24*time.Hour).Unix(), 10); value(it["expires"]) != want {
				return nil, fmt.Errorf("event %d goes at %s, want %s", e.Sequence, value(it["expires"]), want)
			}

			list = append(list, e)
		}

		if out.LastEvaluatedKey == nil {
			return list, nil
		}

		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// TestSuiteServer runs against a server that speaks DynamoDB's API, such as DynamoDB Local or moto.
func TestSuiteServer(t *testing.T) {
	client := server(t)
	table := dynamotest.Table(t, client)

	storetest.Suite(t, func(_ *testing.T, now func() time.Time) store.Store {
		s := listening{dynamo.New(client, table), client, table}
		s.Now = now

		return s
	})
}

// server is the client of the endpoint that METAFLOW_DEPLOYER_DYNAMODB names.
func server(t *testing.T, options ...func(*dynamodb.Options)) *dynamodb.Client {
	t.Helper()

	endpoint := os.Getenv("METAFLOW_DEPLOYER_DYNAMODB")
	if endpoint == "" {
		t.Skip("METAFLOW_DEPLOYER_DYNAMODB names no endpoint")
	}

	o := dynamodb.Options{Region: "eu-west-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")}
	if os.Getenv("METAFLOW_DEPLOYER_DYNAMODB_SERIAL") != "" {
		o.HTTPClient = &serial{}
	}

	return dynamodb.New(o, options...)
}

// serial sends transactions while nothing else is under way. moto undoes a refused transaction by putting back the whole table, and with it what others
// wrote meanwhile; the local gateway corrects that in the same way.
type serial struct{ mu sync.RWMutex }

func (s *serial) Do(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".TransactWriteItems") {
		s.mu.Lock()
		defer s.mu.Unlock()
	} else {
		s.mu.RLock()
		defer s.mu.RUnlock()
	}

	return http.DefaultClient.Do(r)
}
