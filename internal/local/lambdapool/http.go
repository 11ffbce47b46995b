package lambdapool

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
)

// Path is where the Invoke API stands.
const Path = "/2015-03-31/functions/"

// functionName takes what Lambda takes for FunctionName: a name, a partial ARN or an ARN, each with
// or without a qualifier.
var functionName = regexp.MustCompile(`^(?:arn:[a-z-]+:lambda:[a-z0-9-]+:)?(?:(\d{12}):)?(?:function:)?([a-zA-Z0-9_-]+)(?::(\$LATEST|[a-zA-Z0-9_-]+))?$`)

// signer finds the account in the access key of a signed request.
var signer = regexp.MustCompile(`Credential=LOCAL-(\d{12})-`)

// ServeHTTP is Lambda's Invoke API. The account of a function named without one is the caller's.
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
func (p *Pool) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	named, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, Path), "/invocations")
	if !ok || r.Method != http.MethodPost {
		apiError(w, http.StatusNotFound, "UnknownOperationException", "only Invoke is served here")
		return
	}
	m := functionName.FindStringSubmatch(named)
	if m == nil {
		apiError(w, http.StatusBadRequest, "ValidationException", "1 validation error detected: Value '"+named+"' at 'functionName' failed to satisfy constraint")
		return
	}
	account, name := m[1], m[2]
	qualifier := m[3]
	if qualifier == "" {
		qualifier = r.URL.Query().Get("Qualifier")
	}
	if qualifier != "" {
		name += ":" + qualifier
	}
	if account == "" {
		account = p.opts.Account
		if s := signer.FindStringSubmatch(r.Header.Get("Authorization")); s != nil {
			account = s[1]
		}
	}
	payload, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil {
		apiError(w, http.StatusBadRequest, "InvalidRequestContentException", "Could not read the payload")
		return
	}
	if len(payload) > maxRequest {
		invokeError(w, &TooLargeError{Size: len(payload)})
		return
	}
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	if !json.Valid(payload) {
		apiError(w, http.StatusBadRequest, "InvalidRequestContentException", "Could not parse request body into json")
		return
	}

	switch kind := r.Header.Get("X-Amz-Invocation-Type"); kind {
	case "", "RequestResponse":
		res, err := p.Invoke(r.Context(), account, name, payload)
		if err != nil {
			invokeError(w, err)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("X-Amzn-RequestId", res.RequestID)
		h.Set("X-Amz-Executed-Version", "$LATEST")
		if res.FunctionError != "" {
			h.Set("X-Amz-Function-Error", res.FunctionError)
		}
		_, _ = w.Write(res.Payload)
	case "Event":
		if err := p.InvokeEvent(account, name, payload); err != nil {
			invokeError(w, err)
			return
		}
		w.Header().Set("X-Amzn-RequestId", newRequestID())
		w.WriteHeader(http.StatusAccepted)
	default:
		apiError(w, http.StatusBadRequest, "InvalidParameterValueException", "invocation type "+kind+" is not served here")
	}
}

func invokeError(w http.ResponseWriter, err error) {
	if e, ok := errors.AsType[*NotFoundError](err); ok {
		apiError(w, http.StatusNotFound, "ResourceNotFoundException", e.Error())
		return
	}
	if e, ok := errors.AsType[*TooLargeError](err); ok {
		apiError(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", e.Error())
		return
	}
	apiError(w, http.StatusInternalServerError, "ServiceException", err.Error())
}

// apiError answers in Lambda's error format. Without a request id the engine inside moto takes the
// answer for a fault of its own.
func apiError(w http.ResponseWriter, status int, code, message string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Amzn-RequestId", newRequestID())
	h.Set("X-Amzn-ErrorType", code)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"Type": "User", "Message": message, "message": message})
}
