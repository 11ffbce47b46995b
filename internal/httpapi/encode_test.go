package httpapi

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is written by hand must be what encoding/json would write, whichever members are there.
func TestEncoding(t *testing.T) {
	t.Parallel()

	f := format()

	same := func(v any) {
		t.Helper()

		var want, have bytes.Buffer

		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)

		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}

		if err := f.Marshal(&have, v); err != nil {
			t.Fatal(err)
		}

		if diff := cmp.Diff(want.String(), have.String()); diff != "" {
			t.Fatal(diff)
		}
	}

	same(Deployments{Deployments: []Deployment{}})
	same(&Deployment{})

	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 0)) // the same each time, on purpose

		var page Deployments

		fill(random, reflect.ValueOf(&page).Elem(), seed == 0)

		if page.Deployments == nil {
			page.Deployments = []Deployment{} // as the API has it
		}

		same(page)

		for i := range page.Deployments {
			same(&page.Deployments[i])
		}
	}
}

// fill gives each part of a value something or, unless all is wanted, nothing. It fails on what it does not know, so that no new type goes by untried.
func fill(random *rand.Rand, v reflect.Value, all bool) {
	texts := []string{"team-a", "<b>&", "\"\\/", "Größe", "\u2028\x01\x7f\xff", "a\tb"}

	if !all && random.IntN(3) == 0 && v.Kind() != reflect.Struct {
		return
	}

	switch v.Kind() {
	case reflect.String:
		v.SetString(texts[random.IntN(len(texts))])
	case reflect.Int:
		v.SetInt(random.Int64N(100000) - 10)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(random, v.Elem(), all)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+random.IntN(3), 3))

		for i := range v.Len() {
			fill(random, v.Index(i), all)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{}))

		for range random.IntN(4) {
			v.SetMapIndex(reflect.ValueOf(texts[random.IntN(len(texts))]), reflect.ValueOf(texts[random.IntN(len(texts))]))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(random.Int64N(4e9), random.Int64N(1e9)*random.Int64N(2)).UTC()))

			return
		}

		for i := range v.NumField() {
			fill(random, v.Field(i), all)
		}
	default:
		panic("no value for " + v.Type().String())
	}
}
