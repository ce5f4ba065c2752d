use std::sync::Arc;

use futures_util::FutureExt;
use group::offset_fetch;
use transport::Reply;
use wire::{
    FrameError, RequestFrame, ResponseError,
    messages::{OffsetFetchRequest, OffsetFetchResponse, offset_fetch_response::OffsetFetchResponseGroup},
};

use super::{
    front::Front,
    many_groups::{self, ManyGroups},
    reply::encoded,
};

/// The newest version, in which the nodes are asked.
pub(crate) const NEWEST: i16 = 9;

/// Asks until each group has a coordinator that answers: see [`group::offset_fetch::has_moved`]. If that takes too long the
/// connection ends.
pub(super) fn handle(front: &Arc<Front>, frame: &RequestFrame) -> Result<Reply, FrameError> {
    let (version, id) = (frame.version, frame.correlation_id);
    let request: OffsetFetchRequest = offset_fetch::newer(frame.decode_body()?, version);
    wire::check_group_count(request.groups.len())?;
    let front = front.clone();
    let answer = async move {
        let is_elsewhere = |group: &OffsetFetchResponseGroup| offset_fetch::is_elsewhere(group.error_code);
        let answer = many_groups::answer_at_last(&front.backend, &request, NEWEST, is_elsewhere).await;
        let gone = || FrameError::Malformed { part: "response", reason: "no coordinator answers".to_owned() };
        encoded(&offset_fetch::older(answer.ok_or_else(gone)?, version), version, id)
    };
    Ok(Reply::Later(answer.boxed()))
}

impl ManyGroups for OffsetFetchRequest {
    type Answered = OffsetFetchResponseGroup;

    fn groups(&self) -> Vec<String> {
        self.groups.iter().map(|group| group.group_id.to_string()).collect()
    }

    fn about(&self, places: &[usize]) -> Self {
        self.clone().with_groups(places.iter().map(|place| self.groups[*place].clone()).collect())
    }

    fn answers(response: OffsetFetchResponse) -> Vec<OffsetFetchResponseGroup> {
        response.groups
    }

    fn group_of(answered: &OffsetFetchResponseGroup) -> &str {
        &answered.group_id
    }

    fn refused(&self, place: usize, code: ResponseError) -> OffsetFetchResponseGroup {
        OffsetFetchResponseGroup::default()
            .with_group_id(self.groups[place].group_id.clone())
            .with_error_code(code.code())
    }

    fn response(answers: Vec<OffsetFetchResponseGroup>) -> OffsetFetchResponse {
        OffsetFetchResponse::default().with_groups(answers)
    }
}

#[cfg(test)]
mod tests {
    use wire::messages::offset_fetch_request::OffsetFetchRequestGroup;

    use super::*;
    use crate::kafka::text;

    #[test]
    fn each_coordinator_is_asked_for_its_own_groups() {
        let group = |name| OffsetFetchRequestGroup::default().with_group_id(text(name).into());
        let request = OffsetFetchRequest::default().with_groups(vec![group("a"), group("b"), group("c")]);
        assert_eq!(ManyGroups::groups(&request.about(&[2, 0])), ["c", "a"]);
        let refused = ManyGroups::refused(&request, 1, ResponseError::NotCoordinator);
        assert_eq!((OffsetFetchRequest::group_of(&refused), refused.error_code), ("b", 16));
    }
}
