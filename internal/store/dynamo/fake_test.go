package dynamo_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

type item = map[string]types.AttributeValue

// fake keeps one table in memory and answers with DynamoDB's own errors. It understands the expressions that the store writes: comparisons, BETWEEN,
// attribute_exists, attribute_not_exists, AND, OR and parentheses; and updates that ADD numbers.
type fake struct {
	mu    sync.Mutex
	items map[string]item
	// before is the table as it was before the last write: what a read that does not ask for consistency may still see (developer guide, "DynamoDB read
	// consistency").
	before map[string]item
	// page is how many items a Query answers at most, as if they were large.
	page int
	// queries counts the calls of Query; the hook, where set, may change what a Query answers.
	queries int
	onQuery func(out *dynamodb.QueryOutput)
	// lose makes the next n writes happen and run again, as if the SDK had met a broken connection.
	lose int
}

func newFake() *fake { return &fake{items: map[string]item{}, page: 3} }

func address(it item) string { return value(it["pk"]) + "\x00" + value(it["sk"]) }

func value(v types.AttributeValue) string {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return v.Value
	}

	return ""
}

// invalid is DynamoDB's answer to a request that makes no sense.
func invalid(format string, args ...any) error {
	return &smithy.GenericAPIError{Code: "ValidationException", Message: fmt.Sprintf(format, args...)}
}

func (f *fake) again() bool {
	if f.lose == 0 {
		return false
	}

	f.lose--

	return true
}

func (f *fake) PutItem(ctx context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()

	if err := ctx.Err(); err != nil {
		return nil, err
	}

	for {
		old, err := f.check(address(in.Item), in.ConditionExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues)
		if err != nil {
			return nil, err
		}

		if old != nil {
			failed := &types.ConditionalCheckFailedException{Message: aws.String("The conditional request failed")}
			if in.ReturnValuesOnConditionCheckFailure == types.ReturnValuesOnConditionCheckFailureAllOld {
				failed.Item = *old
			}

			return nil, failed
		}

		f.before = maps.Clone(f.items)
		f.items[address(in.Item)] = maps.Clone(in.Item)

		if !f.again() {
			return &dynamodb.PutItemOutput{}, nil
		}
	}
}

func (f *fake) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()

	if err := ctx.Err(); err != nil {
		return nil, err
	}

	for {
		old, err := f.check(address(in.Key), in.ConditionExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues)
		if err != nil {
			return nil, err
		}

		if old != nil {
			return nil, &types.ConditionalCheckFailedException{Message: aws.String("The conditional request failed")}
		}

		f.before = maps.Clone(f.items)
		delete(f.items, address(in.Key))

		if !f.again() {
			return &dynamodb.DeleteItemOutput{}, nil
		}
	}
}

func (f *fake) GetItem(ctx context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()

	items := f.items
	if !aws.ToBool(in.ConsistentRead) {
		items = f.before
	}

	return &dynamodb.GetItemOutput{Item: maps.Clone(items[address(in.Key)])}, ctx.Err()
}

// TransactWriteItems knows no tokens: a repetition is one that comes after the ten minutes for which DynamoDB keeps them.
func (f *fake) TransactWriteItems(
	ctx context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options),
) (*dynamodb.TransactWriteItemsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()

	if err := ctx.Err(); err != nil {
		return nil, err
	}

	for {
		if err := f.transact(in); err != nil {
			return nil, err
		}

		if !f.again() {
			return &dynamodb.TransactWriteItemsOutput{}, nil
		}
	}
}

func (f *fake) transact(in *dynamodb.TransactWriteItemsInput) error {
	if n := len(in.TransactItems); n == 0 || n > 100 {
		return invalid("Member must have length less than or equal to 100 and greater than 0, got %d", n)
	}

	if token := aws.ToString(in.ClientRequestToken); len(token) < 1 || len(token) > 36 {
		return invalid("clientRequestToken must have 1 to 36 characters, got %q", token)
	}

	var (
		reasons []types.CancellationReason
		failed  bool
		seen    = map[string]bool{}
	)

	for _, w := range in.TransactItems {
		var (
			old *item
			err error
			at  string
			all bool
		)

		switch {
		case w.Put != nil:
			at = address(w.Put.Item)
			all = w.Put.ReturnValuesOnConditionCheckFailure == types.ReturnValuesOnConditionCheckFailureAllOld
			old, err = f.check(at, w.Put.ConditionExpression, w.Put.ExpressionAttributeNames, w.Put.ExpressionAttributeValues)
		case w.Delete != nil:
			at = address(w.Delete.Key)
			old, err = f.check(at, w.Delete.ConditionExpression, w.Delete.ExpressionAttributeNames, w.Delete.ExpressionAttributeValues)
		case w.Update != nil:
			at = address(w.Update.Key)
			all = w.Update.ReturnValuesOnConditionCheckFailure == types.ReturnValuesOnConditionCheckFailureAllOld
			old, err = f.checkUpdate(at, w.Update)
		default:
			err = invalid("the fake only knows Put, Delete and Update")
		}

		if err != nil {
			return err
		}

		if seen[at] {
			return invalid("Transaction request cannot include multiple operations on one item")
		}

		seen[at] = true
		reason := types.CancellationReason{Code: aws.String("None")}

		if old != nil {
			failed, reason.Code = true, aws.String("ConditionalCheckFailed")
			if all {
				reason.Item = *old
			}
		}

		reasons = append(reasons, reason)
	}

	if failed {
		return &types.TransactionCanceledException{Message: aws.String("Transaction cancelled"), CancellationReasons: reasons}
	}

	f.before = maps.Clone(f.items)

	for _, w := range in.TransactItems {
		if w.Put != nil {
			f.items[address(w.Put.Item)] = maps.Clone(w.Put.Item)

			continue
		}

		if w.Update != nil {
			f.add(w.Update)

			continue
		}

		delete(f.items, address(w.Delete.Key))
	}

	return nil
}

// checkUpdate splits the values: every placeholder must be used, in either expression.
func (f *fake) checkUpdate(at string, u *types.Update) (*item, error) {
	values := maps.Clone(u.ExpressionAttributeValues)

	adds, ok := strings.CutPrefix(aws.ToString(u.UpdateExpression), "ADD ")
	if !ok {
		return nil, invalid("the fake only knows updates that ADD: %q", aws.ToString(u.UpdateExpression))
	}

	for part := range strings.SplitSeq(adds, ", ") {
		name, placeholder, _ := strings.Cut(part, " ")
		if _, number := values[placeholder].(*types.AttributeValueMemberN); !number || name == "" {
			return nil, invalid("Invalid UpdateExpression: %q", part)
		}

		delete(values, placeholder)
	}

	if u.ConditionExpression == nil && len(values) > 0 {
		return nil, invalid("Value provided in ExpressionAttributeValues unused in expressions: %v", values)
	}

	return f.check(at, u.ConditionExpression, u.ExpressionAttributeNames, values)
}

func (f *fake) add(u *types.Update) {
	it := maps.Clone(f.items[address(u.Key)])
	if it == nil {
		it = maps.Clone(u.Key)
	}

	for part := range strings.SplitSeq(strings.TrimPrefix(*u.UpdateExpression, "ADD "), ", ") {
		name, placeholder, _ := strings.Cut(part, " ")
		have, _ := strconv.Atoi(value(it[name]))
		by, _ := strconv.Atoi(value(u.ExpressionAttributeValues[placeholder]))
		it[name] = &types.AttributeValueMemberN{Value: strconv.Itoa(have + by)}
	}

	f.items[address(u.Key)] = it
}

func (f *fake) Query(ctx context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()

	if err := ctx.Err(); err != nil {
		return nil, err
	}

	hash, sort := "pk", "sk"

	switch aws.ToString(in.IndexName) {
	case "":
	case "tenant-index":
		hash, sort = "gsi1pk", "gsi1sk"
	case "unfinished-index":
		hash, sort = "gsi2pk", "gsi2sk"
	default:
		return nil, invalid("The table does not have the specified index: %s", *in.IndexName)
	}

	if in.IndexName != nil && aws.ToBool(in.ConsistentRead) {
		return nil, invalid("Consistent reads are not supported on global secondary indexes")
	}

	for name, v := range in.ExpressionAttributeValues {
		if value(v) == "" {
			return nil, invalid("The AttributeValue for a key attribute cannot contain an empty string value: %s", name)
		}
	}

	// Indexes follow at once here: that lists may lag is for their readers to bear, not for the suite to wait out.
	items := f.items
	if in.IndexName == nil && !aws.ToBool(in.ConsistentRead) {
		items = f.before
	}

	var found []item

	for _, it := range items {
		if it[hash] == nil || it[sort] == nil {
			continue
		}

		ok, err := evaluate(*in.KeyConditionExpression, it, in.ExpressionAttributeNames, in.ExpressionAttributeValues)
		if err != nil {
			return nil, err
		}

		if ok {
			found = append(found, it)
		}
	}

	order := func(a, b item) int {
		return cmp.Or(cmp.Compare(value(a[sort]), value(b[sort])), cmp.Compare(address(a), address(b)))
	}
	slices.SortFunc(found, order)

	backwards := in.ScanIndexForward != nil && !*in.ScanIndexForward
	if backwards {
		slices.Reverse(found)
	}

	if start := in.ExclusiveStartKey; start != nil {
		found = slices.DeleteFunc(found, func(it item) bool { return backwards && order(it, start) >= 0 || !backwards && order(it, start) <= 0 })
	}

	size := f.page
	if in.Limit != nil {
		if *in.Limit < 1 {
			return nil, invalid("Limit must be at least 1")
		}

		size = min(size, int(*in.Limit))
	}

	out := &dynamodb.QueryOutput{}
	// As DynamoDB does: a page that is full has a key to go on from, even if nothing follows.
	if len(found) >= size {
		found = found[:size]
		last := found[size-1]
		out.LastEvaluatedKey = item{"pk": last["pk"], "sk": last["sk"], hash: last[hash], sort: last[sort]}
	}

	for _, it := range found {
		if in.IndexName != nil && *in.IndexName == "unfinished-index" { // KEYS_ONLY
			it = item{"pk": it["pk"], "sk": it["sk"], hash: it[hash], sort: it[sort]}
		}

		out.Items = append(out.Items, maps.Clone(it))
	}

	f.queries++

	if f.onQuery != nil {
		f.onQuery(out)
	}

	return out, nil
}

// check returns nil if the condition holds, else what stands at the address.
func (f *fake) check(at string, expression *string, names map[string]string, values item) (*item, error) {
	if expression == nil {
		return nil, nil
	}

	old := f.items[at]

	ok, err := evaluate(*expression, old, names, values)
	if err != nil || ok {
		return nil, err
	}

	old = maps.Clone(old)

	return &old, nil
}

// evaluate reads an expression by recursive descent. Names that DynamoDB reserves must be hidden behind a placeholder, and every placeholder must be used.
func evaluate(expression string, it item, names map[string]string, values item) (bool, error) {
	expression = strings.NewReplacer("(", " ( ", ")", " ) ").Replace(expression)
	p := &parser{tokens: strings.Fields(expression), it: it, names: names, values: values, used: map[string]bool{}}
	ok := p.or()

	if p.err == nil && len(p.tokens) > 0 {
		p.fail("Syntax error; token: %q", p.tokens[0])
	}

	if n := len(names) + len(values); p.err == nil && len(p.used) != n {
		p.fail("Value provided in ExpressionAttributeNames or ExpressionAttributeValues unused in expression %q", expression)
	}

	return ok, p.err
}

type parser struct {
	tokens []string
	it     item
	names  map[string]string
	values item
	used   map[string]bool
	err    error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = invalid(format, args...)
	}

	p.tokens = nil
}

func (p *parser) next() string {
	if len(p.tokens) == 0 {
		p.fail("Syntax error; unexpected end of expression")

		return ""
	}

	t := p.tokens[0]
	p.tokens = p.tokens[1:]

	return t
}

func (p *parser) accept(t string) bool {
	if len(p.tokens) == 0 || p.tokens[0] != t {
		return false
	}

	p.next()

	return true
}

func (p *parser) or() bool {
	ok := p.and()
	for p.accept("OR") {
		right := p.and()
		ok = ok || right
	}

	return ok
}

func (p *parser) and() bool {
	ok := p.term()
	for p.accept("AND") {
		right := p.term()
		ok = ok && right
	}

	return ok
}

func (p *parser) term() bool {
	if p.accept("(") {
		ok := p.or()
		if !p.accept(")") {
			p.fail("Syntax error; missing )")
		}

		return ok
	}

	negated := p.accept("attribute_not_exists")
	if negated || p.accept("attribute_exists") {
		if !p.accept("(") {
			p.fail("Syntax error; missing (")
		}

		_, there := p.it[p.name(p.next())]

		if !p.accept(")") {
			p.fail("Syntax error; missing )")
		}

		return there != negated
	}

	left, there := p.it[p.name(p.next())]
	op := p.next()
	first := p.value(p.next())

	if op == "BETWEEN" {
		if !p.accept("AND") {
			p.fail("Syntax error; BETWEEN without AND")
		}

		second := p.value(p.next())

		return there && order(left, first) >= 0 && order(left, second) <= 0
	}

	if !there || fmt.Sprintf("%T", left) != fmt.Sprintf("%T", first) {
		return false
	}

	switch op {
	case "=":
		return order(left, first) == 0
	case "<":
		return order(left, first) < 0
	case "<=":
		return order(left, first) <= 0
	case ">":
		return order(left, first) > 0
	}

	p.fail("Syntax error; operator: %q", op)

	return false
}

func (p *parser) name(t string) string {
	if strings.HasPrefix(t, "#") {
		name, ok := p.names[t]
		if !ok {
			p.fail("An expression attribute name used in the document path is not defined; attribute name: %s", t)
		}

		p.used[t] = true

		return name
	}

	// From the list of reserved words in the developer guide, those that could be an attribute of ours.
	if slices.Contains([]string{"state", "until", "key", "name", "role", "status", "ttl", "value"}, strings.ToLower(t)) {
		p.fail("Attribute name is a reserved keyword; reserved keyword: %s", t)
	}

	return t
}

func (p *parser) value(t string) types.AttributeValue {
	v, ok := p.values[t]
	if !ok {
		p.fail("An expression attribute value used in expression is not defined; attribute value: %s", t)
	}

	p.used[t] = true

	return v
}

func order(a, b types.AttributeValue) int {
	if _, ok := a.(*types.AttributeValueMemberN); ok {
		x, _ := strconv.ParseInt(value(a), 10, 64)
		y, _ := strconv.ParseInt(value(b), 10, 64)

		return cmp.Compare(x, y)
	}

	return strings.Compare(value(a), value(b))
}
