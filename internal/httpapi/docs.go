package httpapi

import "net/http"

func (s *server) docs(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte("<!doctype html><title>metaflow-deployer</title>")) // a caller that left needs no answer
}
