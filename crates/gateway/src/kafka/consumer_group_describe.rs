use wire::{
    ResponseError,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
        consumer_group_describe_response::DescribedGroup,
    },
};

use super::many_groups::ManyGroups;

impl ManyGroups for ConsumerGroupDescribeRequest {
    type Answered = DescribedGroup;

    fn groups(&self) -> Vec<String> {
        self.group_ids.iter().map(|group| group.to_string()).collect()
    }

    fn about(&self, places: &[usize]) -> Self {
        self.clone().with_group_ids(places.iter().map(|place| self.group_ids[*place].clone()).collect())
    }

    fn answers(response: ConsumerGroupDescribeResponse) -> Vec<DescribedGroup> {
        response.groups
    }

    fn group_of(answered: &DescribedGroup) -> &str {
        &answered.group_id
    }

    fn refused(&self, place: usize, code: ResponseError) -> DescribedGroup {
        DescribedGroup::default().with_group_id(self.group_ids[place].clone()).with_error_code(code.code())
    }

    fn response(answers: Vec<DescribedGroup>) -> ConsumerGroupDescribeResponse {
        ConsumerGroupDescribeResponse::default().with_groups(answers)
    }
}
