package awsproxy

import (
	"context"
	"net/http"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

func strictS3() []entry {
	return []entry{{
		name:    "strict/partial-delete",
		source:  "S3 API reference, DeleteObjects: single objects may fail inside a good answer. Here one does in the first call for each bucket.",
		service: "s3", actions: []string{"DeleteObjects"}, apply: partialDelete,
	}}
}

// partialDelete keeps the first object of the call back from moto and lists it as failed.
func partialDelete(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	objects := listOf(c.object("Delete")["Objects"])
	if !c.isFunction() || len(objects) == 0 || !c.world.first("partial "+c.text("Bucket")) {
		return next(ctx, c)
	}

	asked, err := awsmodel.ParseXML(c.body)
	if err != nil {
		return next(ctx, c)
	}

	p.touch(c, "strict/partial-delete")

	for i, child := range asked.Children {
		if child.Name == "Object" {
			asked.Children = append(asked.Children[:i:i], asked.Children[i+1:]...)

			break
		}
	}

	a := &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/xml"}}, body: element("DeleteResult").Bytes()}

	if len(objects) > 1 {
		part := *c
		part.body, part.header = asked.Bytes(), c.header.Clone()

		// The sums are of the whole list.
		for name := range part.header {
			if lower := strings.ToLower(name); lower == "content-md5" || strings.HasPrefix(lower, "x-amz-checksum-") || lower == "x-amz-sdk-checksum-algorithm" {
				part.header.Del(name)
			}
		}

		a, err = next(ctx, &part)
		if err != nil || !a.ok() {
			return a, err
		}
	}

	result, err := a.xml()
	if err != nil {
		return nil, err
	}

	first, _ := objects[0].(map[string]any)
	key, _ := first["Key"].(string)
	failed := element("Error", leaf("Key", key), leaf("Code", "InternalError"), leaf("Message", "We encountered an internal error. Please try again."))

	if version, _ := first["VersionId"].(string); version != "" {
		failed.Children = append(failed.Children, leaf("VersionId", version))
	}

	result.Children = append(result.Children, failed)
	a.setBody(result.Bytes())

	return a, nil
}
