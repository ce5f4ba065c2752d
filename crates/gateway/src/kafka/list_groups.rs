use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use transport::{CallError, Reply};
use wire::{
    FrameError, RequestFrame, ResponseError,
    messages::{ListGroupsRequest, ListGroupsResponse},
};

use super::{backend::Backend, front::Front, reply::later};

pub(super) fn handle(front: &Arc<Front>, frame: &RequestFrame) -> Result<Reply, FrameError> {
    let (front, request, version) = (front.clone(), frame.decode_body::<ListGroupsRequest>()?, frame.version);
    later(frame, async move { answer(&front.backend, &request, version).await })
}

/// The groups of all coordinators, which is what a client believes the one broker to be.
pub(crate) async fn answer(
    backend: &Backend,
    request: &ListGroupsRequest,
    version: i16,
) -> ListGroupsResponse {
    let image = backend.image.load();
    let nodes: Vec<String> = image.live_nodes().map(|node| node.kafka.to_string()).collect();
    let asking =
        nodes.iter().map(|node| backend.upstream.call(node, request.clone(), version, Duration::ZERO));
    together(join_all(asking).await)
}

/// What is missing is not kept back: the client is told to ask again.
fn together(answers: Vec<Result<ListGroupsResponse, CallError>>) -> ListGroupsResponse {
    let mut groups = BTreeMap::new();
    let mut code = 0;
    for answer in answers {
        match answer {
            Ok(response) => {
                if response.error_code != 0 {
                    code = response.error_code;
                }
                // A group that moves may be with both.
                groups.extend(response.groups.into_iter().map(|group| (group.group_id.clone(), group)));
            }
            Err(error) => {
                tracing::debug!(%error, "a node did not list its groups");
                code = ResponseError::CoordinatorNotAvailable.code();
            }
        }
    }
    ListGroupsResponse::default().with_error_code(code).with_groups(groups.into_values().collect())
}

#[cfg(test)]
mod tests {
    use wire::messages::list_groups_response::ListedGroup;

    use super::*;
    use crate::kafka::text;

    fn listed(names: &[&str]) -> ListGroupsResponse {
        let group = |name: &&str| ListedGroup::default().with_group_id(text(*name).into());
        ListGroupsResponse::default().with_groups(names.iter().map(group).collect())
    }

    #[test]
    fn every_group_is_listed_once_and_what_is_missing_is_said() {
        let names = |response: &ListGroupsResponse| -> Vec<String> {
            response.groups.iter().map(|g| g.group_id.to_string()).collect()
        };
        let all = together(vec![Ok(listed(&["b", "a"])), Ok(listed(&["c", "b"]))]);
        assert_eq!((names(&all), all.error_code), (vec!["a".into(), "b".into(), "c".into()], 0));
        let lost = CallError::Lost { address: "n".to_owned(), reason: "reset".to_owned() };
        let some = together(vec![Ok(listed(&["a"])), Err(lost)]);
        assert_eq!(names(&some), ["a"]);
        assert_eq!(some.error_code, ResponseError::CoordinatorNotAvailable.code());
    }
}
