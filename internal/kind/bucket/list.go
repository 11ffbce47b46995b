package bucket

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// pageSize is how many buckets a page of the list holds. Without one S3 answers all at once, and refuses an account that has more than 10,000 (API
// reference, ListBuckets).
const pageSize = 1000

// List implements kind.Lister. A list of buckets has no tags, so those whose names end as ours do are asked for theirs one by one. A bucket whose tags may
// not be read is passed over: nothing is known of it, so nothing is said of it.
func (b *Bucket) List(ctx context.Context, place deploy.Owner) ([]kind.Found, error) {
	var all []kind.Found

	pages := s3.NewListBucketsPaginator(b.s3, &s3.ListBucketsInput{BucketRegion: aws.String(place.Region), MaxBuckets: aws.Int32(pageSize)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list buckets: %w", err)
		}

		for _, one := range page.Buckets {
			if !strings.HasSuffix(aws.ToString(one.Name), deploy.BucketSuffix) {
				continue
			}

			tags, err := b.tags(ctx, &kind.Call{Owner: place}, aws.ToString(one.Name))
			if awserr.Gone(err) || awserr.Is(err, deploy.Denied) {
				continue
			}

			if err != nil {
				return nil, err
			}

			found := kind.Found{ID: aws.ToString(one.Name), ARN: place.ARN("s3", "", "", aws.ToString(one.Name)), Tags: tags}
			if found.Of(place, name) {
				all = append(all, found)
			}
		}
	}

	return all, nil
}
