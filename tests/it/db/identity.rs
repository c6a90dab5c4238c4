//! What the database is called.

use cifra::db::identity;
use uuid::Uuid;

use super::write;
use crate::harness::databases::both_engines;

#[tokio::test]
async fn a_database_keeps_its_first_name() {
    for test in both_engines().await {
        let remember =
            |id: u128| write(&test.db, move |c| Box::pin(identity::remember(c, Uuid::from_u128(id))));
        assert_eq!(remember(7).await, Uuid::from_u128(7), "{}", test.engine);
        assert_eq!(remember(8).await, Uuid::from_u128(7), "{}", test.engine);
    }
}
