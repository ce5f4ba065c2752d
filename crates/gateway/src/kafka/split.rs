use std::collections::BTreeMap;

use wire::WireTopicName;

/// The partitions of a request, by topic.
pub(super) type ByTopic<T> = Vec<(WireTopicName, Vec<T>)>;

/// A request about partitions, taken apart by who answers for each, and the answers put together again in its order.
pub(super) struct Split<Asked, Answered> {
    topics: Vec<WireTopicName>,
    asked: Vec<(usize, Asked)>,
    answered: Vec<Option<Answered>>,
}

impl<Asked: Clone, Answered> Split<Asked, Answered> {
    pub(super) fn new(request: ByTopic<Asked>) -> Self {
        let (mut topics, mut asked) = (Vec::with_capacity(request.len()), Vec::new());
        for (topic, partitions) in request {
            asked.extend(partitions.into_iter().map(|partition| (topics.len(), partition)));
            topics.push(topic);
        }
        let answered = asked.iter().map(|_| None).collect();
        Self { topics, asked, answered }
    }

    /// The places of those that have no answer yet.
    pub(super) fn open(&self) -> Vec<usize> {
        (0..self.asked.len()).filter(|place| self.answered[*place].is_none()).collect()
    }

    pub(super) fn at(&self, place: usize) -> (&WireTopicName, &Asked) {
        let (topic, asked) = &self.asked[place];
        (&self.topics[*topic], asked)
    }

    /// What is asked at these places, in their order.
    pub(super) fn part(&self, places: &[usize]) -> ByTopic<Asked> {
        let mut part: Vec<(usize, Vec<Asked>)> = Vec::new();
        for place in places {
            let (topic, asked) = &self.asked[*place];
            match part.last_mut() {
                Some((last, partitions)) if last == topic => partitions.push(asked.clone()),
                _ => part.push((*topic, vec![asked.clone()])),
            }
        }
        part.into_iter().map(|(topic, partitions)| (self.topics[topic].clone(), partitions)).collect()
    }

    pub(super) fn answer(&mut self, place: usize, answered: Answered) {
        self.answered[place] = Some(answered);
    }

    /// Takes in what came for these places. `is_for` says whether an answer is for what was asked; those of one request
    /// that asks twice are taken in order.
    pub(super) fn take_in(
        &mut self,
        places: &[usize],
        answers: ByTopic<Answered>,
        is_for: impl Fn(&Asked, &Answered) -> bool,
    ) {
        let mut came: BTreeMap<WireTopicName, Vec<Option<Answered>>> = BTreeMap::new();
        for (topic, partitions) in answers {
            came.entry(topic).or_default().extend(partitions.into_iter().map(Some));
        }
        for place in places {
            let (topic, asked) = &self.asked[*place];
            let of_topic = came.get_mut(&self.topics[*topic]).into_iter().flatten();
            let found = of_topic.into_iter().find(|a| a.as_ref().is_some_and(|a| is_for(asked, a)));
            if let Some(answered) = found.and_then(Option::take) {
                self.answered[*place] = Some(answered);
            }
        }
    }

    /// All answers, in the order of the request; `missing` makes those that never came.
    pub(super) fn together(self, missing: impl Fn(&Asked) -> Answered) -> ByTopic<Answered> {
        let mut together: ByTopic<Answered> =
            self.topics.into_iter().map(|topic| (topic, Vec::new())).collect();
        for ((topic, asked), answered) in self.asked.into_iter().zip(self.answered) {
            together[topic].1.push(answered.unwrap_or_else(|| missing(&asked)));
        }
        together
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::text;

    fn topic(name: &str) -> WireTopicName {
        WireTopicName(text(name))
    }

    #[test]
    fn what_was_taken_apart_is_put_together_in_the_requests_order() {
        let request = vec![(topic("a"), vec![0, 1, 2]), (topic("b"), vec![0, 1]), (topic("c"), vec![])];
        let mut split: Split<i32, (i32, &str)> = Split::new(request);
        assert_eq!(split.open(), [0, 1, 2, 3, 4]);
        let (left, right) = ([0, 2, 4], [1, 3]);
        assert_eq!(split.part(&left), [(topic("a"), vec![0, 2]), (topic("b"), vec![1])]);
        // In any order, and not all of it.
        let same = |asked: &i32, answered: &(i32, &str)| *asked == answered.0;
        split.take_in(
            &left,
            vec![(topic("b"), vec![(1, "b1")]), (topic("a"), vec![(2, "a2"), (0, "a0")])],
            same,
        );
        split.take_in(&right, vec![(topic("a"), vec![(1, "a1"), (0, "not asked")])], same);
        assert_eq!(split.open(), [3]);
        let together = split.together(|asked| (*asked, "missing"));
        assert_eq!(
            together,
            [
                (topic("a"), vec![(0, "a0"), (1, "a1"), (2, "a2")]),
                (topic("b"), vec![(0, "missing"), (1, "b1")]),
                (topic("c"), vec![]),
            ]
        );
    }

    #[test]
    fn who_asks_twice_is_answered_twice() {
        let mut split: Split<i32, (i32, u8)> =
            Split::new(vec![(topic("a"), vec![5, 5]), (topic("a"), vec![5])]);
        let answers = vec![(topic("a"), vec![(5, 1), (5, 2), (5, 3)])];
        split.take_in(&split.open(), answers, |asked, answered| *asked == answered.0);
        let together = split.together(|_| (0, 0));
        assert_eq!(together, [(topic("a"), vec![(5, 1), (5, 2)]), (topic("a"), vec![(5, 3)])]);
    }
}
