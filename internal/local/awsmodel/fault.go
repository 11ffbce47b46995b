package awsmodel

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
)

// NewRequestID gives an id of the form AWS uses.
func NewRequestID() string {
	var b [16]byte

	_, _ = rand.Read(b[:]) // never fails since Go 1.24

	s := hex.EncodeToString(b[:])

	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// WriteError answers with an error in the wire format of the service, so that every SDK shows exactly that code and message. A status of 0 becomes the one the
// model gives for the code, else 400.
func WriteError(w http.ResponseWriter, op *Operation, status int, code, message string) {
	if status == 0 {
		status = op.statusOf(code)
	}

	protocol := RestXML
	if op != nil {
		protocol = op.Service.Protocol()
	}

	id := NewRequestID()

	var body []byte

	switch protocol {
	case JSON, RestJSON:
		body = jsonFault(w, op, id, code, message)
	case EC2Query:
		w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
		body = ec2Fault(id, code, message)
	case Query:
		w.Header().Set("Content-Type", "text/xml")
		w.Header()["x-amzn-RequestId"] = []string{id}
		body = queryFault(op.Service.Namespace, status, id, code, message)
	default:
		w.Header().Set("Content-Type", "application/xml")
		w.Header()["x-amz-request-id"] = []string{id}
		w.Header()["x-amz-id-2"] = []string{id}
		body = restXMLFault(id, code, message)
	}

	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // who asked is gone; there is nobody to tell
}

func (o *Operation) statusOf(code string) int {
	if o == nil {
		return http.StatusBadRequest
	}

	for _, e := range o.Errors {
		if (e.Name == code || e.ErrorCode == code) && e.ErrorStatus != 0 {
			return e.ErrorStatus
		}
	}

	return http.StatusBadRequest
}

func jsonFault(w http.ResponseWriter, op *Operation, id, code, message string) []byte {
	w.Header()["x-amzn-RequestId"] = []string{id}
	w.Header()["x-amzn-ErrorType"] = []string{code}

	// AWS's services do not agree on how to spell the member; the SDKs read both.
	fault := map[string]string{"message": message}

	if op.Service.Protocol() == JSON {
		version := op.Service.meta.JSONVersion
		if version == "" {
			version = "1.0"
		}

		w.Header().Set("Content-Type", "application/x-amz-json-"+version)

		fault["__type"] = code
		if op.Service.meta.TargetPrefix != "" && version == "1.0" {
			fault["__type"] = "com.amazonaws." + op.Service.Name + "#" + code
		}
	} else {
		w.Header().Set("Content-Type", "application/json")
	}

	body, err := json.Marshal(fault)
	if err != nil {
		return []byte("{}") // a map of strings always marshals
	}

	return body
}

func ec2Fault(id, code, message string) []byte {
	return (&Element{Name: "Response", Children: []*Element{
		{Name: "Errors", Children: []*Element{{Name: "Error", Children: []*Element{{Name: "Code", Text: code}, {Name: "Message", Text: message}}}}},
		{Name: "RequestID", Text: id},
	}}).Bytes()
}

func queryFault(namespace string, status int, id, code, message string) []byte {
	side := "Sender"
	if status >= http.StatusInternalServerError {
		side = "Receiver"
	}

	root := &Element{Name: "ErrorResponse", Children: []*Element{
		{Name: "Error", Children: []*Element{{Name: "Type", Text: side}, {Name: "Code", Text: code}, {Name: "Message", Text: message}}},
		{Name: "RequestId", Text: id},
	}}
	root.setNamespace(namespace)

	return root.Bytes()
}

func restXMLFault(id, code, message string) []byte {
	return (&Element{Name: "Error", Children: []*Element{
		{Name: "Code", Text: code}, {Name: "Message", Text: message}, {Name: "RequestId", Text: id}, {Name: "HostId", Text: id},
	}}).Bytes()
}
