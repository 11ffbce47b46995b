package samtemplate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

func (s *scope) readQueue(st *Stack, id string) error {
	q := Queue{LogicalID: id, Name: s.queueName(id), URL: s.queueURL(id), ARN: s.arn("sqs", s.queueName(id)), Attributes: map[string]string{}}
	for name, n := range pairs(s.properties(id)) {
		if name == "QueueName" {
			continue
		}
		v, err := s.eval(n, "Resources."+id+".Properties."+name)
		if err != nil {
			return err
		}
		text, err := scalar(v)
		if err != nil { // the API takes what is no scalar as JSON
			data, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("Resources.%s.Properties.%s: %w", id, name, err)
			}
			text = string(data)
		}
		q.Attributes[name] = text
	}
	st.Queues = append(st.Queues, q)
	return nil
}

// queueName is the name of a queue; CloudFormation ends those that it makes up for FIFO queues as SQS wants it.
func (s *scope) queueName(id string) string {
	name := s.physicalName(id, "QueueName")
	if fifo := child(s.properties(id), "FifoQueue"); fifo != nil && fifo.Value == "true" && !strings.HasSuffix(name, ".fifo") {
		name += ".fifo"
	}
	return name
}

func (s *scope) queueURL(id string) string {
	return "https://sqs." + s.in.Region + ".amazonaws.com/" + s.in.Account + "/" + s.queueName(id)
}

// streamARN is that of a table's stream. The time in it is AWS's to choose; this stands for it.
func (s *scope) streamARN(id string) string {
	return s.arn("dynamodb", "table/"+s.physicalName(id, "TableName")+"/stream/1")
}

func (s *scope) readMapping(st *Stack, id string) error {
	var p struct {
		FunctionName, EventSourceArn, StartingPosition string
		BatchSize                                      int
		FilterCriteria                                 struct{ Filters []struct{ Pattern string } }
		FunctionResponseTypes                          []string
		BisectBatchOnFunctionError                     bool
		MaximumRetryAttempts                           int
		MaximumRecordAgeInSeconds                      int
		DestinationConfig                              struct{ OnFailure struct{ Destination string } }
		ScalingConfig                                  struct{ MaximumConcurrency int }
	}
	p.MaximumRetryAttempts = -1
	known := []string{
		"FunctionName", "EventSourceArn", "StartingPosition", "BatchSize", "FilterCriteria", "FunctionResponseTypes", "BisectBatchOnFunctionError",
		"MaximumRetryAttempts", "MaximumRecordAgeInSeconds", "DestinationConfig", "ScalingConfig",
	}
	for name := range pairs(s.properties(id)) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("Resources.%s: the property %s is not played here", id, name)
		}
	}
	if err := s.decode(id, &p, known...); err != nil {
		return err
	}
	m := Mapping{
		LogicalID: id, Function: s.arn("lambda", "function:"+p.FunctionName), Source: p.EventSourceArn, BatchSize: p.BatchSize,
		Partial: slices.Contains(p.FunctionResponseTypes, "ReportBatchItemFailures"), Bisect: p.BisectBatchOnFunctionError,
		Retries: p.MaximumRetryAttempts, MaxAge: time.Duration(max(0, p.MaximumRecordAgeInSeconds)) * time.Second,
		OnFailure: p.DestinationConfig.OnFailure.Destination, Concurrency: p.ScalingConfig.MaximumConcurrency,
	}
	for _, f := range p.FilterCriteria.Filters {
		m.Filters = append(m.Filters, json.RawMessage(f.Pattern))
	}
	for _, table := range s.ofType("AWS::DynamoDB::Table") {
		if s.streamARN(table) == m.Source {
			m.Table = s.physicalName(table, "TableName")
		}
	}
	switch {
	case m.Table != "" && p.StartingPosition != "TRIM_HORIZON":
		return fmt.Errorf("Resources.%s: a StartingPosition %q is not played here, only TRIM_HORIZON", id, p.StartingPosition)
	case m.Table == "" && !slices.ContainsFunc(s.ofType("AWS::SQS::Queue"), func(q string) bool { return s.arn("sqs", s.queueName(q)) == m.Source }):
		return fmt.Errorf("Resources.%s: %s is neither a queue nor a stream of the template", id, m.Source)
	case m.BatchSize == 0:
		m.BatchSize = 10 // a queue's default; a stream's is 100
		if m.Table != "" {
			m.BatchSize = 100
		}
	}
	st.Mappings = append(st.Mappings, m)
	return nil
}
